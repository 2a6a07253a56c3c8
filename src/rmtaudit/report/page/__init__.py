"""Results as one self-contained HTML file each: for people, in a browser, on a phone and on paper."""
