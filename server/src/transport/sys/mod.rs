//! The system calls of the batched transport.
