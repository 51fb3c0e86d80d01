//! Asking a publisher again for what was lost (RFC 4585 §6.2.1).
