//! A small typed UDP client for Postbox protocol objects.
