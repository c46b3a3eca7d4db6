//! Files with operators that are made up: each is refused by name.
