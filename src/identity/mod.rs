//! Who a peer is: device keys, ids, signature payloads, secrets and randomness.
//!
//! This room proves identities and draws secrets; it never knows who is allowed what.

pub mod ids;
