//! The examples of Postbox are beside this folder: see `README.md` there.

/// The code on the repository's first page, so that it is compiled.
#[cfg(doctest)]
#[doc = include_str!(concat!(env!("OUT_DIR"), "/first_page.md"))]
pub struct FirstPage;
