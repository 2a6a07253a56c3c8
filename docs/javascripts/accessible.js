// What the theme leaves out: a name for the search dialog, and code and tables that the keyboard can scroll at every width.
function complete() {
  document.querySelectorAll(".md-search").forEach((each) => each.setAttribute("aria-label", "Search"));
  document.querySelectorAll("pre > code, .md-typeset__scrollwrap, .md-typeset__table > table").forEach((each) => {
    if (each.scrollWidth > each.clientWidth) each.setAttribute("tabindex", "0");
  });
}
["load", "resize"].forEach((event) => addEventListener(event, () => setTimeout(complete, 200)));
complete();
