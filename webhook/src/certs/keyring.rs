//! The keyring: the CAs that are trusted, the key that signs and the serving certificate, and the decision what to renew. No I/O.

use enact_domain::digest::Digest;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::error::CertificateError;
use super::serving;

/// Certificates are valid from this long before they are made, for clients whose clocks are slow.
const SKEW: SignedDuration = SignedDuration::from_mins(5);
/// Longest lifetime: a hundred years.
const LONGEST: SignedDuration = SignedDuration::from_hours(100 * 366 * 24);
/// Number of hex digits of the secret of notes.
const SECRET_DIGITS: usize = 40;

/// Lifetimes of certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    pub ca: SignedDuration,
    pub serving: SignedDuration,
    /// Time between the publication of a new CA in all webhook configurations and the first serving certificate that it signs. The API
    /// server must notice the new CA within this time.
    pub propagation: SignedDuration,
}

impl Lifetimes {
    /// Returns the problem with these lifetimes, if any. Every certificate must be renewed, and known everywhere, before it expires.
    pub fn problem(&self) -> Option<String> {
        if self.propagation.is_negative() || self.serving <= SignedDuration::ZERO {
            Some("lifetimes must be positive".into())
        } else if self.ca.max(self.serving).max(self.propagation) > LONGEST {
            Some("lifetimes must be at most a hundred years".into())
        } else if self.propagation * 3 >= self.serving {
            Some("the propagation time must be less than a third of the lifetime of the serving certificate".into())
        } else if self.serving * 3 > self.ca {
            Some("the lifetime of the serving certificate must be at most a third of the CA's".into())
        } else {
            None
        }
    }
}

/// The self-signed certificates as the Secret holds them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keyring {
    /// Trusted CAs, the newest last.
    cas: Vec<Ca>,
    /// Key of the newest CA, as PEM. The keys of older CAs are not kept.
    ca_key: String,
    serving: ServingCertificate,
    /// The secret in the path of notes. It stays when the CA is renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note_secret: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ca {
    name: String,
    certificate: String,
    made: Timestamp,
    ends: Timestamp,
    /// Time at which the rotation found that all webhook configurations trust it. [`Keyring::published`] sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    published: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServingCertificate {
    /// Name of the CA that signed it.
    issuer: String,
    hosts: Vec<String>,
    certificate: String,
    key: String,
    made: Timestamp,
    ends: Timestamp,
}

/// The next step that a keyring needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing before this moment.
    Nothing { until: Timestamp },
    /// A new CA, which the API server trusts in addition to the present ones.
    Ca,
    /// A new serving certificate, signed by the newest CA.
    ServingCertificate,
    /// Publication of the newest CA in the webhook configurations, and a note of the time.
    Publication,
}

impl Keyring {
    /// Makes a keyring for `hosts`, whose CA nobody trusts yet.
    ///
    /// # Errors
    /// When a key or certificate cannot be made.
    pub fn new(hosts: &[String], lifetimes: &Lifetimes, now: Timestamp) -> Result<Self, CertificateError> {
        let (ca, key) = Ca::make(lifetimes, now)?;
        let serving = ServingCertificate::make(&ca.name, &key, hosts, lifetimes, now)?;
        let ca_key = key.serialize_pem();
        let note_secret = Some(derived_secret(&ca_key));
        Ok(Self { cas: vec![ca], ca_key, serving, note_secret })
    }

    /// Decides what is due at `now`.
    pub fn due(&self, hosts: &[String], lifetimes: &Lifetimes, now: Timestamp) -> Due {
        // The order matters. Without a valid CA, nothing can be signed.
        let Some(newest) = self.cas.last().filter(|a| a.ends > now) else {
            return Due::Ca;
        };
        // Handshakes fail already, at least for a missing host, so its replacement does not wait until the newest CA is known everywhere.
        if self.serving.ends <= now || !self.serving.covers(hosts) {
            return Due::ServingCertificate;
        }
        // Before the serving certificate: a new one would be signed by a CA that is about to be replaced.
        let renewal = two_thirds(newest.made, newest.ends);
        if renewal <= now {
            return Due::Ca;
        }
        let Some(published) = newest.published else {
            return Due::Publication;
        };
        // After a renewal of the CA, the serving certificate follows as soon as the new CA is known everywhere.
        let wanted = if self.serving.issuer == newest.name {
            two_thirds(self.serving.made, self.serving.ends)
        } else {
            published + lifetimes.propagation
        };
        // No serving certificate may be signed by a CA that some API server does not trust yet: it would refuse the connection.
        let next = wanted.max(published + lifetimes.propagation);
        if next <= now { Due::ServingCertificate } else { Due::Nothing { until: next.min(renewal) } }
    }

    /// Returns the keyring with a new CA in addition to those that have not expired.
    ///
    /// # Errors
    /// When a key or certificate cannot be made.
    pub fn with_ca(&self, hosts: &[String], lifetimes: &Lifetimes, now: Timestamp) -> Result<Self, CertificateError> {
        let (ca, key) = Ca::make(lifetimes, now)?;
        let mut cas: Vec<Ca> = self.cas.iter().filter(|a| a.ends > now).cloned().collect();
        // Without a valid old CA, no client accepts the present serving certificate, so it is replaced at once.
        let nobody_trusted = cas.is_empty();
        cas.push(ca);
        // The new key replaces that of the old CA, which signs no further certificate.
        let note_secret = Some(self.note_secret());
        let mut next = Self { cas, ca_key: key.serialize_pem(), serving: self.serving.clone(), note_secret };
        if nobody_trusted {
            next = next.with_serving_certificate(hosts, lifetimes, now)?;
        }
        Ok(next)
    }

    /// Returns the keyring with a new serving certificate. When the present one lacks a host, the new one has the hosts of both: replicas
    /// of two releases with different host names would otherwise replace each other's certificate for ever.
    ///
    /// # Errors
    /// When a key or certificate cannot be made.
    pub fn with_serving_certificate(
        &self,
        hosts: &[String],
        lifetimes: &Lifetimes,
        now: Timestamp,
    ) -> Result<Self, CertificateError> {
        let key = KeyPair::from_pem(&self.ca_key)?;
        let issuer = self.cas.last().map(|a| a.name.clone()).unwrap_or_default();
        let mut all = hosts.to_vec();
        if !self.serving.covers(hosts) {
            all.extend(self.serving.hosts.iter().filter(|h| !hosts.contains(h)).cloned());
        }
        Ok(Self { serving: ServingCertificate::make(&issuer, &key, &all, lifetimes, now)?, ..self.clone() })
    }

    /// Checks that every certificate and key can be parsed and that the serving certificate belongs to its key.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn check(&self) -> Result<(), CertificateError> {
        KeyPair::from_pem(&self.ca_key)?;
        for ca in &self.cas {
            serving::chain(ca.certificate.as_bytes())?;
        }
        serving::certified(self.serving.certificate.as_bytes(), self.serving.key.as_bytes())?;
        Ok(())
    }

    /// Returns the keyring with the note that the newest CA is trusted since `now`.
    #[must_use]
    pub fn published(&self, now: Timestamp) -> Self {
        let mut next = self.clone();
        if let Some(newest) = next.cas.last_mut() {
            newest.published = Some(now);
        }
        next
    }

    /// Returns the CA certificates that the API server must trust, as PEM, the newest last.
    pub fn bundle(&self) -> String {
        self.cas.iter().map(|a| a.certificate.as_str()).collect()
    }

    /// Returns the serving certificate and its key, as PEM.
    pub fn serving(&self) -> (&str, &str) {
        (&self.serving.certificate, &self.serving.key)
    }

    /// Returns the secret in the path of notes, which all replicas share.
    pub fn note_secret(&self) -> String {
        self.note_secret.clone().unwrap_or_else(|| derived_secret(&self.ca_key))
    }

    /// Returns when the serving certificate expires.
    pub fn ends(&self) -> Timestamp {
        self.serving.ends
    }
}

impl Ca {
    fn make(lifetimes: &Lifetimes, now: Timestamp) -> Result<(Self, KeyPair), CertificateError> {
        let ends = now + lifetimes.ca;
        // The name holds the time, so that no client tries to verify a chain with another CA of the same name.
        let name = format!("enact-webhook {}", now.as_millisecond());
        let key = KeyPair::generate()?;
        let certificate = ca_params(&name, now, ends)?.self_signed(&key)?.pem();
        Ok((Self { name, certificate, made: now, ends, published: None }, key))
    }
}

impl ServingCertificate {
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
        let ends = now + lifetimes.serving;
        let mut params = CertificateParams::new(hosts)?;
        (params.not_before, params.not_after) = (offset(now - SKEW)?, offset(ends)?);
        params.distinguished_name = named(hosts.first().map_or("enact-webhook", String::as_str));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        // A signature needs only the name and the key usages of the CA, so its parameters are not kept.
        let ca = ca_params(issuer, now, ends)?;
        let certificate = params.signed_by(&key, &Issuer::new(ca, issuer_key))?.pem();
        let hosts = hosts.to_vec();
        Ok(Self { issuer: issuer.into(), hosts, certificate, key: key.serialize_pem(), made: now, ends })
    }
}

/// Returns the secret of notes that follows from the key of a CA, and does not tell it.
fn derived_secret(ca_key: &str) -> String {
    let digest = Digest::of_bytes(format!("enact-webhook notes\0{ca_key}").as_bytes());
    digest.as_str().trim_start_matches("sha256:").chars().take(SECRET_DIGITS).collect()
}

fn ca_params(name: &str, now: Timestamp, ends: Timestamp) -> Result<CertificateParams, CertificateError> {
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

/// Converts to the whole seconds that a certificate holds: at most a second too early.
fn offset(moment: Timestamp) -> Result<OffsetDateTime, CertificateError> {
    OffsetDateTime::from_unix_timestamp(moment.as_second()).map_err(|_| CertificateError::Time(moment))
}

/// Returns the time after two thirds of a lifetime.
fn two_thirds(made: Timestamp, ends: Timestamp) -> Timestamp {
    made + made.duration_until(ends) * 2 / 3
}

#[cfg(test)]
mod tests;
