//! The address of enact-server.

use std::str::FromStr;

use enact_domain::names::is_label;

/// The Service of enact-server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    pub namespace: String,
    pub service: String,
}

impl FromStr for ServerAddress {
    type Err = String;

    /// Parses `NAMESPACE/SERVICE`. Both parts become part of a URL path, so they must be labels.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, service)) if is_label(namespace) && is_label(service) => {
                Ok(Self { namespace: namespace.to_owned(), service: service.to_owned() })
            }
            _ => Err("it must be NAMESPACE/SERVICE, for example enact-system/enact-server".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_not_a_path() {
        let address = ServerAddress { namespace: "enact-system".into(), service: "enact-server".into() };
        assert_eq!("enact-system/enact-server".parse(), Ok(address));
        for wrong in ["", "a", "a/", "/a", "a/b/c", "a/../b", "a/b:80", "A/b", "a/b?x"] {
            assert!(wrong.parse::<ServerAddress>().is_err(), "{wrong}");
        }
    }
}
