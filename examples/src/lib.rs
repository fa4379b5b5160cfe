//! The examples of Postbox are beside this folder: see `README.md` there.
