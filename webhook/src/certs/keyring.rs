//! The keyring: who signs, who is trusted, what is served; and the decision what is due. No I/O.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{CertificateError, serving};

/// Certificates begin this much before they are made, for clocks that are behind.
const SKEW: SignedDuration = SignedDuration::from_mins(5);
/// Longest lifetime: a hundred years.
const LONGEST: SignedDuration = SignedDuration::from_hours(100 * 366 * 24);

/// How long certificates are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of an authority.
    pub authority: SignedDuration,
    /// Of the serving certificate.
    pub leaf: SignedDuration,
    /// Between the moment in which the API server was told to trust a new authority and the first signature by it that is served.
    pub propagation: SignedDuration,
}

impl Lifetimes {
    /// Why these lifetimes cannot be used; none when they can. Whatever is renewed must be so, and known everywhere, before it ends.
    pub fn problem(&self) -> Option<String> {
        if self.propagation.is_negative() || self.leaf <= SignedDuration::ZERO {
            Some("lifetimes must be positive".into())
        } else if self.authority.max(self.leaf).max(self.propagation) > LONGEST {
            Some("lifetimes must be at most a hundred years".into())
        } else if self.propagation * 3 >= self.leaf {
            Some("the propagation time must be less than a third of the leaf's lifetime".into())
        } else if self.leaf * 3 > self.authority {
            Some("the leaf's lifetime must be at most a third of the authority's".into())
        } else {
            None
        }
    }
}

/// Everything about the self-made certificates, as the Secret holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keyring {
    /// Authorities that are trusted, the newest last.
    authorities: Vec<Authority>,
    /// Key of the newest authority, as PEM. Those of older ones are gone.
    authority_key: String,
    /// What is served.
    leaf: Leaf,
}

/// A certificate authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authority {
    name: String,
    certificate: String,
    made: Timestamp,
    ends: Timestamp,
    /// When all webhook configurations were seen to trust it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    published: Option<Timestamp>,
}

/// The serving certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Leaf {
    /// Name of the authority that signed it.
    issuer: String,
    /// Host names that it is for.
    hosts: Vec<String>,
    certificate: String,
    key: String,
    made: Timestamp,
    ends: Timestamp,
}

/// What is to be done about a keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing before this moment.
    Nothing {
        /// When to look again.
        until: Timestamp,
    },
    /// Make a new authority, and tell the API server to trust it besides the present ones.
    Authority,
    /// Make a new serving certificate, signed by the newest authority.
    Leaf,
    /// The newest authority was not seen in the webhook configurations yet: see to it, then note when.
    Publication,
}

impl Keyring {
    /// A new keyring for `hosts`, whose authority nobody trusts yet.
    ///
    /// # Errors
    /// When a key or certificate cannot be made.
    pub fn new(hosts: &[String], lifetimes: &Lifetimes, now: Timestamp) -> Result<Self, CertificateError> {
        let (authority, key) = Authority::make(lifetimes, now)?;
        let leaf = Leaf::make(&authority.name, &key, hosts, lifetimes, now)?;
        Ok(Self { authorities: vec![authority], authority_key: key.serialize_pem(), leaf })
    }

    /// What is due at `now`.
    pub fn due(&self, hosts: &[String], lifetimes: &Lifetimes, now: Timestamp) -> Due {
        let Some(newest) = self.authorities.last().filter(|a| a.ends > now) else {
            return Due::Authority;
        };
        if self.leaf.ends <= now || !self.leaf.covers(hosts) {
            return Due::Leaf;
        }
        let renewal = two_thirds(newest.made, newest.ends);
        if renewal <= now {
            return Due::Authority;
        }
        let Some(published) = newest.published else {
            return Due::Publication;
        };
        let wanted = if self.leaf.issuer == newest.name {
            two_thirds(self.leaf.made, self.leaf.ends)
        } else {
            published + lifetimes.propagation
        };
        // A leaf is never signed by an authority before that is known everywhere.
        let next = wanted.max(published + lifetimes.propagation);
        if next <= now { Due::Leaf } else { Due::Nothing { until: next.min(renewal) } }
    }

    /// The keyring with a new authority besides those that have not ended.
    ///
    /// # Errors
    /// When a key or certificate cannot be made.
    pub fn with_authority(
        &self,
        hosts: &[String],
        lifetimes: &Lifetimes,
        now: Timestamp,
    ) -> Result<Self, CertificateError> {
        let (authority, key) = Authority::make(lifetimes, now)?;
        let mut authorities: Vec<Authority> = self.authorities.iter().filter(|a| a.ends > now).cloned().collect();
        let nobody_trusted = authorities.is_empty();
        authorities.push(authority);
        let mut next = Self { authorities, authority_key: key.serialize_pem(), leaf: self.leaf.clone() };
        if nobody_trusted {
            next = next.with_leaf(hosts, lifetimes, now)?;
        }
        Ok(next)
    }

    /// The keyring with a new serving certificate. When the present one lacks a host, the new one has its hosts as well: replicas of two
    /// releases that go by different names must not take turns.
    ///
    /// # Errors
    /// When a key or certificate cannot be made.
    pub fn with_leaf(&self, hosts: &[String], lifetimes: &Lifetimes, now: Timestamp) -> Result<Self, CertificateError> {
        let key = KeyPair::from_pem(&self.authority_key)?;
        let issuer = self.authorities.last().map(|a| a.name.clone()).unwrap_or_default();
        let mut all = hosts.to_vec();
        if !self.leaf.covers(hosts) {
            all.extend(self.leaf.hosts.iter().filter(|h| !hosts.contains(h)).cloned());
        }
        Ok(Self { leaf: Leaf::make(&issuer, &key, &all, lifetimes, now)?, ..self.clone() })
    }

    /// Checks that everything in it can be read and that the serving certificate belongs to its key.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn check(&self) -> Result<(), CertificateError> {
        KeyPair::from_pem(&self.authority_key)?;
        for authority in &self.authorities {
            serving::chain(authority.certificate.as_bytes())?;
        }
        serving::certified(self.leaf.certificate.as_bytes(), self.leaf.key.as_bytes())?;
        Ok(())
    }

    /// The keyring with the note that the newest authority is trusted since `now`.
    #[must_use]
    pub fn published(&self, now: Timestamp) -> Self {
        let mut next = self.clone();
        if let Some(newest) = next.authorities.last_mut() {
            newest.published = Some(now);
        }
        next
    }

    /// The certificates that the API server must trust, as PEM, the newest last.
    pub fn bundle(&self) -> String {
        self.authorities.iter().map(|a| a.certificate.as_str()).collect()
    }

    /// The serving certificate and its key, as PEM.
    pub fn serving(&self) -> (&str, &str) {
        (&self.leaf.certificate, &self.leaf.key)
    }

    /// When the serving certificate ends.
    pub fn ends(&self) -> Timestamp {
        self.leaf.ends
    }
}

impl Authority {
    fn make(lifetimes: &Lifetimes, now: Timestamp) -> Result<(Self, KeyPair), CertificateError> {
        let ends = now + lifetimes.authority;
        // The moment is in the name, so that a chain is never tried with a namesake.
        let name = format!("enact-webhook {}", now.as_millisecond());
        let key = KeyPair::generate()?;
        let certificate = authority_params(&name, now, ends)?.self_signed(&key)?.pem();
        Ok((Self { name, certificate, made: now, ends, published: None }, key))
    }
}

impl Leaf {
    fn covers(&self, hosts: &[String]) -> bool {
        hosts.iter().all(|h| self.hosts.contains(h))
    }

    fn make(
        issuer: &str,
        issuer_key: &KeyPair,
        hosts: &[String],
        lifetimes: &Lifetimes,
        now: Timestamp,
    ) -> Result<Self, CertificateError> {
        let ends = now + lifetimes.leaf;
        let mut params = CertificateParams::new(hosts)?;
        (params.not_before, params.not_after) = (offset(now - SKEW)?, offset(ends)?);
        params.distinguished_name = named(hosts.first().map_or("enact-webhook", String::as_str));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        // Of the authority's parameters a signature needs only the name and the key usages, so they need not be kept.
        let authority = authority_params(issuer, now, ends)?;
        let certificate = params.signed_by(&key, &Issuer::new(authority, issuer_key))?.pem();
        let hosts = hosts.to_vec();
        Ok(Self { issuer: issuer.into(), hosts, certificate, key: key.serialize_pem(), made: now, ends })
    }
}

fn authority_params(name: &str, now: Timestamp, ends: Timestamp) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (offset(now - SKEW)?, offset(ends)?);
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut full = DistinguishedName::new();
    full.push(DnType::CommonName, name);
    full
}

/// A certificate holds whole seconds, so a moment in it is at most a second too early.
fn offset(moment: Timestamp) -> Result<OffsetDateTime, CertificateError> {
    OffsetDateTime::from_unix_timestamp(moment.as_second()).map_err(|_| CertificateError::Time(moment))
}

/// Two thirds of a life.
fn two_thirds(made: Timestamp, ends: Timestamp) -> Timestamp {
    made + made.duration_until(ends) * 2 / 3
}

#[cfg(test)]
mod tests;
