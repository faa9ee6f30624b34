//! The integration tests of the gateway, one binary. Each area is a file.
