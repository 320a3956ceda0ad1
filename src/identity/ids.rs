//! The names of things, each its own type so that no id can be taken for another.
//!
//! An id is any string once it is inside: this room does not judge where it came from. `Token` is a
//! secret and can therefore be neither printed nor formatted by accident. Copies share their text, so that
//! copying a table of thousands costs no allocation for its keys.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The plain text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                $name(text.into())
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $name(text.into())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

macro_rules! printable {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }
    )*};
}

name!(
    /// One live connection of the gateway: a random v4 UUID.
    ConnId
);
name!(
    /// A device: lower-case hex SHA-256 of its raw public key, 64 characters (protocol §3.1).
    DeviceId
);
name!(
    /// A node; for a connected node this is its device id (protocol §6).
    NodeId
);
name!(
    /// A join key: a random v4 UUID that names the key and opens nothing.
    KeyId
);
name!(
    /// A pending pairing request of either layer: a random v4 UUID.
    RequestId
);
name!(
    /// A bearer secret: 32 random bytes, base64url, 43 characters. Serializes as its value.
    Token
);

printable!(ConnId DeviceId KeyId NodeId RequestId);

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(..)")
    }
}

impl From<&DeviceId> for NodeId {
    fn from(device: &DeviceId) -> Self {
        NodeId(device.0.clone())
    }
}

impl From<DeviceId> for NodeId {
    fn from(device: DeviceId) -> Self {
        NodeId(device.0)
    }
}

impl From<&NodeId> for DeviceId {
    fn from(node: &NodeId) -> Self {
        DeviceId(node.0.clone())
    }
}

impl From<NodeId> for DeviceId {
    fn from(node: NodeId) -> Self {
        DeviceId(node.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_does_not_show_itself() {
        let token = Token::from("c2VjcmV0");
        assert_eq!(
            format!("{token:?} {:?}", Some(&token)),
            "Token(..) Some(Token(..))"
        );
    }

    #[test]
    fn an_id_is_its_text_in_json() {
        let id: RequestId = serde_json::from_str("\"r-1\"").unwrap();
        assert_eq!(id, RequestId::from("r-1"));
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"r-1\"");
    }

    #[test]
    fn a_node_is_named_after_its_device() {
        let device = DeviceId::from("ab");
        assert_eq!(DeviceId::from(NodeId::from(&device)), device);
    }
}
