//! The examples of Postbox: see `README.md` beside this file.
