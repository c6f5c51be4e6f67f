//! The cache over HTTP, with real packs and a fake API server.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use enact_domain::clone_cache::{BYTES_HEADER, CLONE_PATH, COMMIT_HEADER, RESERVATION_PATH};
use support::{Cache, Repository, WAITING, create_namespace};

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_is_what_runners_sent() {
    let cache = Cache::start().await;
    let repository = Repository::new();
    let (first, pack) = repository.commit("a.txt", "one");
    assert_eq!(cache.clone_of("one").await.err(), Some(404), "the cache is empty");
    assert_eq!(cache.store("one", &first, &pack).await, 202);
    cache.eventually("the first pack", |text| text.contains(r#"enact_cache_packs_total{outcome="stored"} 1"#)).await;

    // Another pod of the same repository sends what is new. That pack refers to the objects of the first one.
    let (second, more) = repository.commit("b.txt", "two");
    assert_eq!(cache.store("two", &second, &more).await, 202);
    cache.eventually("the second pack", |text| text.contains(r#"enact_cache_packs_total{outcome="stored"} 2"#)).await;

    let (clone, body) = cache.clone_of("one").await.unwrap();
    assert_eq!(clone.commits, [first, second.clone()]);
    assert_eq!(clone.bytes(), body.len() as u64);
    let copy = Repository::empty();
    copy.unpack(&clone, &body);
    assert_eq!(copy.git(&["show", &format!("{second}:b.txt")]), "two");
    copy.git(&["fsck", "--full", "--strict", &second]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_pod_of_a_repository_reads_it() {
    let cache = Cache::start().await;
    let (commit, pack) = Repository::new().commit("a.txt", "one");
    assert_eq!(cache.store("one", &commit, &pack).await, 202);
    cache.eventually("the pack", |text| text.contains(r#"enact_cache_packs_total{outcome="stored"} 1"#)).await;
    assert!(cache.clone_of("two").await.is_ok(), "another pod of this namespace, URL and credential");
    assert!(cache.clone_of(WAITING).await.is_ok(), "a pod that waits for an attempt");
    for (token, status) in [
        ("another-credential", 404),
        ("another-namespace", 404),
        ("another-tenant", 404),
        ("without-annotation", 401),
        ("ended", 401),
        ("forged", 401),
        ("", 401),
    ] {
        assert_eq!(cache.clone_of(token).await.err(), Some(status), "{token}");
    }
    assert!(cache.reviews().iter().all(|audience| audience == "enact-cache"), "tokens for other audiences");
}

/// The namespace and its tenant were deleted and created again, perhaps by others.
#[tokio::test(flavor = "multi_thread")]
async fn another_namespace_with_the_same_name_gets_nothing() {
    let cache = Cache::start().await;
    let (commit, pack) = Repository::new().commit("a.txt", "one");
    assert_eq!(cache.store("one", &commit, &pack).await, 202);
    cache.eventually("the pack", |text| text.contains(r#"enact_cache_packs_total{outcome="stored"} 1"#)).await;
    cache.api.remove("namespaces/team");
    create_namespace(&cache.api, "team", "acme");
    assert_eq!(cache.clone_of("two").await.err(), Some(404));
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_packs_that_git_cannot_use() {
    let cache = Cache::start().await;
    let repository = Repository::new();
    let (first, pack) = repository.commit("a.txt", "one");
    let (second, more) = repository.commit("b.txt", "two");
    let mut broken = pack.clone();
    let middle = broken.len() / 2;
    broken[middle] ^= 1;
    let bad = [
        ("an object that a commit refers to is missing", &second, &more),
        ("the content was changed", &first, &broken),
        ("the commit is not in it", &second, &pack),
    ];
    for (n, (what, commit, pack)) in (1..).zip(bad) {
        assert_eq!(cache.store("one", commit, pack).await, 202, "{what}");
        cache
            .eventually(what, |text| text.contains(&format!(r#"enact_cache_packs_total{{outcome="refused"}} {n}"#)))
            .await;
        assert_eq!(cache.clone_of("one").await.err(), Some(404), "{what}");
    }
    // The next runner can still send a good one.
    assert_eq!(cache.store("two", &first, &pack).await, 202);
    cache.eventually("the good pack", |text| text.contains(r#"outcome="stored"} 1"#)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_runners_sends_a_pack() {
    let cache = Cache::start().await;
    let (commit, pack) = Repository::new().commit("a.txt", "one");
    let bytes = pack.len().to_string();
    let headers = [(BYTES_HEADER, bytes.as_str())];
    let reserve = |token| cache.send("POST", RESERVATION_PATH, token, &headers, b"");
    let statuses = futures::join!(reserve("one"), reserve("two"));
    assert!([(204, 409), (409, 204)].contains(&statuses), "{statuses:?}");
    let [winner, loser] = if statuses.0 == 204 { ["one", "two"] } else { ["two", "one"] };
    let headers = [(COMMIT_HEADER, commit.as_str())];
    let put = |token| cache.send("PUT", CLONE_PATH, token, &headers, &pack);
    assert_eq!(put(loser).await, 409, "it has no reservation");
    assert_eq!(put(winner).await, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_what_it_cannot_keep() {
    let cache = Cache::start().await;
    let too_large = (2u64 << 20).to_string();
    assert_eq!(cache.send("POST", RESERVATION_PATH, "one", &[(BYTES_HEADER, &too_large)], b"").await, 413);
    for size in ["", "-1", "0", "many"] {
        assert_eq!(cache.send("POST", RESERVATION_PATH, "one", &[(BYTES_HEADER, size)], b"").await, 411, "{size}");
    }
    assert_eq!(cache.send("POST", RESERVATION_PATH, "one", &[(BYTES_HEADER, "4")], b"").await, 204);
    for commit in ["", "main", "--all", "../../x"] {
        assert_eq!(cache.send("PUT", CLONE_PATH, "one", &[(COMMIT_HEADER, commit)], b"PACK").await, 400, "{commit}");
    }
    assert_eq!(cache.send("PUT", CLONE_PATH, "one", &[(COMMIT_HEADER, &"0".repeat(40))], b"longer").await, 409);
    assert_eq!(cache.send("GET", "/v1/other", "one", &[], b"").await, 404);
}
