//! Telling a publisher when its packets arrived (draft-holmer-rmcat-transport-wide-cc-extensions-01).
