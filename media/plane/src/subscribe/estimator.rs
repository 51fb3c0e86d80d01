//! How much a subscriber's line carries.
