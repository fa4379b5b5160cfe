//! The examples of Postbox are beside this folder: see `README.md` there.

/// The server in the repository's first page, so that it is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct FirstPage;
