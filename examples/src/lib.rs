//! What the examples share; they are beside this folder: see `README.md` there.

use std::fmt;

use postbox_protocol::BoxError;

/// What an example's `main` fails with: any error, which is printed with its causes.
pub struct Report(BoxError);

impl<E: Into<BoxError>> From<E> for Report {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// This is how the standard library prints what `main` fails with.
impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use postbox_client::UdpRecvError;

    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes() {
        let refused = Report::from(UdpRecvError::Refused);
        let text = "refused: nobody listens at the server's address";
        assert_eq!(format!("{refused:?}"), text);
        let io = Report::from(UdpRecvError::Io(io::Error::other("no socket")));
        assert_eq!(format!("{io:?}"), "cannot receive: no socket");
    }
}

/// The code on the repository's first page and in its guide, so that it is compiled.
#[cfg(doctest)]
#[doc = include_str!(concat!(env!("OUT_DIR"), "/pages.md"))]
pub struct Pages;
