//! JSON for Postbox protocol objects.
