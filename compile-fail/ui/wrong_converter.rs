//! The converter is one of another DTO.

use postbox::TryFromConverter;
use postbox_compile_fail::*;

struct Name(String);

impl TryFrom<String> for Name {
    type Error = BoxError;

    fn try_from(name: String) -> Result<Self, BoxError> {
        Ok(Name(name))
    }
}

fn main() {
    let converter = TryFromConverter::<Reply, Reply, Name, String>::new();
    let _ = protocol().with_converter(converter);
}
