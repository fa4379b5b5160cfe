//! JSON for Postbox protocol objects.

mod serializer;

// The public interface is:
pub use serializer::JsonSerializer;
