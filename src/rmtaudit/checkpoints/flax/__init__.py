"""What ``flax.serialization.to_bytes`` writes: nested maps in MessagePack, arrays as its extension types."""
