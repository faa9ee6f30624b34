//! The binary: hands over to [`tenterhook::cli`].

fn main() {}
