//! The integration tests of the library, one binary. Each area is a file.
