use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::*;
use crate::testing::https::{HOST, hosts, lifetimes};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn start() -> Timestamp {
    "2026-01-01T00:00:00.5Z".parse().unwrap()
}

/// Returns a keyring whose CA has been published since its creation.
fn settled() -> Keyring {
    Keyring::new(&hosts(), &lifetimes(), start()).unwrap().published(start())
}

fn due(keyring: &Keyring, now: Timestamp) -> Due {
    keyring.due(&hosts(), &lifetimes(), now)
}

/// Returns whether a client that trusts `bundle` accepts the serving certificate for `host`.
fn trusted(bundle: &str, keyring: &Keyring, host: &str, now: Timestamp) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(ca.unwrap()).unwrap();
    }
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider())).build().unwrap();
    let serving = CertificateDer::from_pem_slice(keyring.serving().0.as_bytes()).unwrap();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(now.as_second()).unwrap()));
    verifier.verify_server_cert(&serving, &[], &ServerName::try_from(host.to_owned()).unwrap(), &[], now).map(|_| ())
}

#[test]
fn clients_trust_the_certificate_until_it_expires() {
    let keyring = settled();
    let bundle = keyring.bundle();
    for host in hosts() {
        trusted(&bundle, &keyring, &host, start()).unwrap();
    }
    // The certificate is valid for clocks that are slow, and until its end.
    trusted(&bundle, &keyring, HOST, start() - SignedDuration::from_mins(4)).unwrap();
    trusted(&bundle, &keyring, HOST, start() + HOUR * 3 - SignedDuration::from_secs(2)).unwrap();
    for (host, now) in [
        ("elsewhere.enact.svc", start()),
        (HOST, start() + HOUR * 3 + SignedDuration::from_secs(2)),
        (HOST, start() - HOUR),
    ] {
        assert!(trusted(&bundle, &keyring, host, now).is_err(), "{host} at {now}");
    }
    assert!(trusted(&settled().bundle(), &keyring, HOST, start()).is_err());
}

#[test]
fn what_is_due_comes_in_order() {
    let new = Keyring::new(&hosts(), &lifetimes(), start()).unwrap();
    assert_eq!(due(&new, start()), Due::Publication);
    let first = settled();
    assert_eq!(due(&first, start()), Due::Nothing { until: start() + HOUR * 2 });
    assert_eq!(due(&first, start() + HOUR * 2), Due::ServingCertificate);

    let renewed = first.with_serving_certificate(&hosts(), &lifetimes(), start() + HOUR * 5).unwrap();
    // The serving certificate would last until the seventh hour, but the CA is renewed in the sixth.
    assert_eq!(due(&renewed, start() + HOUR * 5), Due::Nothing { until: start() + HOUR * 6 });
    let now = start() + HOUR * 6;
    assert_eq!(due(&renewed, now), Due::Ca);

    let second = renewed.with_ca(&hosts(), &lifetimes(), now).unwrap();
    assert_eq!((second.cas.len(), due(&second, now)), (2, Due::Publication));
    assert_eq!(second.serving, renewed.serving, "nobody trusts the new ca yet");
    let second = second.published(now);
    let known = now + lifetimes().propagation;
    assert_eq!(due(&second, now), Due::Nothing { until: known });
    assert_eq!(due(&second, known), Due::ServingCertificate);
    let second = second.with_serving_certificate(&hosts(), &lifetimes(), known).unwrap();
    assert_eq!(second.serving.issuer, second.cas[1].name);
    trusted(&second.bundle(), &second, HOST, known).unwrap();
    trusted(&second.bundle(), &renewed, HOST, known).unwrap();

    // The first CA is removed after its end.
    let third = second.with_ca(&hosts(), &lifetimes(), start() + HOUR * 12).unwrap();
    assert_eq!(third.cas.len(), 2);
    assert!(!third.bundle().contains(&first.bundle()) && third.bundle().starts_with(&second.cas[1].certificate));
}

#[test]
fn a_keyring_that_slept_too_long_wakes_up() {
    let first = settled();
    // Only the serving certificate has expired, so the CA can sign a new one at once.
    let now = start() + HOUR * 4;
    assert_eq!(due(&first, now), Due::ServingCertificate);
    trusted(&first.bundle(), &first.with_serving_certificate(&hosts(), &lifetimes(), now).unwrap(), HOST, now).unwrap();
    // The CA has expired too, so the new CA can serve without waiting for its propagation.
    let now = start() + HOUR * 100;
    assert_eq!(due(&first, now), Due::Ca);
    let second = first.with_ca(&hosts(), &lifetimes(), now).unwrap();
    assert_eq!((second.cas.len(), due(&second, now)), (1, Due::Publication));
    trusted(&second.bundle(), &second, HOST, now).unwrap();
}

/// Simulates a hundred hours in steps of a minute, with an API server that uses each bundle only after the full propagation time.
#[test]
fn no_client_ever_sees_a_change() {
    let (minute, mut now) = (SignedDuration::from_mins(1), start());
    let mut keyring = settled();
    let mut published = vec![(now, keyring.bundle())];
    let (mut cas, mut leaves) = (0, 0);
    while now < start() + HOUR * 100 {
        loop {
            keyring = match due(&keyring, now) {
                Due::Nothing { until } => {
                    assert!(until > now);
                    break;
                }
                Due::Ca => {
                    cas += 1;
                    keyring.with_ca(&hosts(), &lifetimes(), now).unwrap()
                }
                Due::ServingCertificate => {
                    leaves += 1;
                    keyring.with_serving_certificate(&hosts(), &lifetimes(), now).unwrap()
                }
                Due::Publication => {
                    published.push((now, keyring.bundle()));
                    keyring.published(now)
                }
            };
        }
        let known = published.iter().rfind(|(at, _)| *at + lifetimes().propagation <= now).unwrap_or(&published[0]);
        trusted(&known.1, &keyring, HOST, now).unwrap_or_else(|e| panic!("at {now}: {e}"));
        trusted(&keyring.bundle(), &keyring, HOST, now).unwrap();
        now += minute;
    }
    assert!(cas >= 14 && leaves >= 45, "{cas} {leaves}");
    assert!(keyring.cas.len() <= 2);
}

#[test]
fn another_name_is_added_and_later_taken_away() {
    let first = settled();
    let other = vec!["other.enact.svc".to_owned()];
    assert_eq!(first.due(&other, &lifetimes(), start()), Due::ServingCertificate);
    let both = first.with_serving_certificate(&other, &lifetimes(), start()).unwrap();
    // For replicas of both releases, nothing is due.
    for names in [&hosts(), &other] {
        assert!(matches!(both.due(names, &lifetimes(), start()), Due::Nothing { .. }));
        trusted(&both.bundle(), &both, &names[0], start()).unwrap();
    }
    let renewed = both.with_serving_certificate(&other, &lifetimes(), start() + HOUR * 2).unwrap();
    assert_eq!(renewed.serving.hosts, other);
}

#[test]
fn lifetimes_that_cannot_be_kept_are_refused() {
    let with = |ca, serving, propagation| {
        let seconds = SignedDuration::from_secs;
        Lifetimes { ca: seconds(ca), serving: seconds(serving), propagation: seconds(propagation) }.problem()
    };
    assert_eq!(with(90, 30, 9), None);
    for (lifetimes, part) in [
        (with(90, 0, 0), "positive"),
        (with(90, 30, -1), "positive"),
        (with(90, 30, 10), "propagation"),
        (with(89, 30, 1), "third of the CA's"),
        (with(i64::MAX, 30, 1), "hundred years"),
        (with(90, i64::MAX, 1), "hundred years"),
        (with(90, 30, i64::MAX), "hundred years"),
    ] {
        assert!(lifetimes.as_ref().is_some_and(|p| p.contains(part)), "{lifetimes:?}");
    }
    let long = Lifetimes { ca: LONGEST, ..lifetimes() };
    assert_eq!(long.problem(), None);
    Keyring::new(&hosts(), &long, start()).unwrap().check().unwrap();
}

#[test]
fn it_is_kept_as_json_and_damage_is_found() {
    let keyring = settled();
    let text = serde_json::to_value(&keyring).unwrap();
    assert_eq!(serde_json::from_value::<Keyring>(text.clone()).unwrap(), keyring);
    keyring.check().unwrap();
    let other = serde_json::to_value(settled()).unwrap();
    for (pointer, value) in [
        ("/caKey", "none".into()),
        ("/cas/0/certificate", "".into()),
        ("/serving/certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into()),
        ("/serving/key", other["serving"]["key"].clone()),
        ("/serving/key", "".into()),
    ] {
        let mut damaged = text.clone();
        *damaged.pointer_mut(pointer).unwrap() = value;
        assert!(serde_json::from_value::<Keyring>(damaged).unwrap().check().is_err(), "{pointer}");
    }
}

#[test]
fn the_secret_of_notes_outlasts_its_ca() {
    let keyring = settled();
    let secret = keyring.note_secret();
    assert!(secret.len() == 40 && secret.chars().all(|c| c.is_ascii_hexdigit()), "{secret}");
    let renewed = keyring.with_ca(&hosts(), &lifetimes(), Timestamp::now()).unwrap();
    assert_eq!(renewed.note_secret(), secret);
    assert_ne!(Keyring::new(&hosts(), &lifetimes(), Timestamp::now()).unwrap().note_secret(), secret);
    // An older keyring has none of its own: all replicas derive the same one.
    let mut stored = serde_json::to_value(&keyring).unwrap();
    stored.as_object_mut().unwrap().remove("noteSecret");
    let older: Keyring = serde_json::from_value(stored).unwrap();
    assert_eq!(older.note_secret(), secret);
}
