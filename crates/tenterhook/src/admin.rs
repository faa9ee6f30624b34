//! The admin listener: API, metrics, health. Speaks JSON over `ops`; knows no store and no destination.
