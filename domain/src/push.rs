//! Push events of Git hosts: the repository, and the branch or tag.
//!
//! A [`Push`] is only a hint: the operator polls the documents from that repository now, instead of at the end of their interval. The
//! fields are those of the webhooks of [GitHub], [GitLab], [Gitea] and Forgejo, and [Bitbucket]; all other fields are ignored.
//!
//! [GitHub]: https://docs.github.com/en/webhooks/webhook-events-and-payloads#push
//! [GitLab]: https://docs.gitlab.com/user/project/integrations/webhook_events/#push-events
//! [Gitea]: https://docs.gitea.com/usage/webhooks
//! [Bitbucket]: https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Maximum length of the name of a repository, branch or tag in a notification, in bytes.
const MAX_NAME: usize = 512;
/// Maximum number of identities of one repository.
const MAX_NAMES: usize = 8;

/// A push to a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Push {
    /// Namespace of the documents that the push affects.
    pub namespace: String,
    /// [`identity`] of each URL of the repository.
    pub repositories: BTreeSet<String>,
    /// `refs/heads/…` or `refs/tags/…`; none if the Git host does not send it.
    pub reference: Option<String>,
}

/// The reason why the body of a webhook request is not a push event.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The body is not the JSON of a Git host.
    #[error("{0}")]
    Malformed(#[from] serde_json::Error),
    /// The body does not name a repository.
    #[error(
        "neither `repository` nor `project` contains the URL of a repository; in the Git host's webhook, select push events and the content type JSON"
    )]
    NoRepository,
}

#[derive(Deserialize)]
struct Body {
    r#ref: Option<String>,
    repository: Option<Urls>,
    project: Option<Urls>,
}

/// The URLs of a repository, by the field names of Git hosts.
#[derive(Deserialize)]
struct Urls {
    url: Option<String>,
    clone_url: Option<String>,
    ssh_url: Option<String>,
    html_url: Option<String>,
    git_http_url: Option<String>,
    git_ssh_url: Option<String>,
    web_url: Option<String>,
    links: Option<Links>,
}

#[derive(Deserialize)]
struct Links {
    html: Option<Link>,
    #[serde(default)]
    clone: Vec<Link>,
}

#[derive(Deserialize)]
struct Link {
    href: String,
}

impl Urls {
    fn all(self) -> impl Iterator<Item = String> {
        let Self { url, clone_url, ssh_url, html_url, git_http_url, git_ssh_url, web_url, links } = self;
        let named = [clone_url, ssh_url, git_http_url, git_ssh_url, html_url, web_url, url].into_iter().flatten();
        named.chain(links.into_iter().flat_map(|links| links.html.into_iter().chain(links.clone)).map(|link| link.href))
    }
}

impl Push {
    /// Parses the body of a webhook request for the documents in `namespace`.
    ///
    /// # Errors
    /// If the body is not a JSON object with the URL of a repository.
    pub fn parse(namespace: &str, body: &[u8]) -> Result<Self, PushError> {
        let Body { r#ref, repository, project } = serde_json::from_slice(body)?;
        let urls = repository.into_iter().chain(project).flat_map(Urls::all);
        // A set, since most Git hosts send several URLs with the same identity. The limit bounds the size of the notification.
        let repositories: BTreeSet<String> = urls.filter_map(|url| identity(&url)).take(MAX_NAMES).collect();
        if repositories.is_empty() {
            return Err(PushError::NoRepository);
        }
        // An invalid reference is ignored: without one, the push affects all revisions.
        let reference = r#ref.filter(|name| is_plain(name));
        Ok(Self { namespace: namespace.to_owned(), repositories, reference })
    }

    /// Returns whether the push may have changed a document that is read from this URL and revision.
    pub fn affects(&self, url: &str, revision: &str) -> bool {
        let moved = |reference: &String| {
            let name = ["refs/heads/", "refs/tags/"].iter().find_map(|prefix| reference.strip_prefix(prefix));
            reference == revision || name.is_none_or(|name| name == revision)
        };
        self.reference.as_ref().is_none_or(moved)
            && identity(url).is_some_and(|identity| self.repositories.contains(&identity))
    }
}

/// Returns the host and path of a repository's URL: the same for its `https://`, `ssh://` and `user@host:path` form, with and without
/// `.git`. Case, ports and users are ignored: an unnecessary poll costs less than a missed one. Returns none for any other URL.
fn identity(url: &str) -> Option<String> {
    let (authority, path) = match url.split_once("://") {
        Some(("https" | "http" | "ssh" | "git", rest)) => rest.split_once('/')?,
        Some(_) => return None,
        None => url.split_once(':').filter(|(authority, _)| authority.contains('@'))?,
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let identity = format!("{host}/{path}").to_lowercase();
    (!host.is_empty() && !path.is_empty() && is_plain(&identity)).then_some(identity)
}

/// Returns whether a name is short and needs no escapes in JSON.
fn is_plain(name: &str) -> bool {
    name.len() <= MAX_NAME && !name.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '"' | '\\'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pushes as Git hosts send them, shortened to the relevant fields and some around them.
    const GITHUB: &str = r#"{"ref": "refs/heads/main", "before": "1", "after": "2", "repository": {"id": 1, "full_name": "acme/Specs",
        "owner": {"login": "acme", "url": "https://github.com/acme"}, "url": "https://github.com/acme/Specs",
        "html_url": "https://github.com/acme/Specs", "git_url": "git://github.com/acme/Specs.git",
        "ssh_url": "git@github.com:acme/Specs.git", "clone_url": "https://github.com/acme/Specs.git"}, "commits": []}"#;
    const GITLAB: &str = r#"{"object_kind": "push", "ref": "refs/heads/main", "project": {"name": "specs",
        "web_url": "https://gitlab.example.com/acme/team/specs", "git_ssh_url": "git@gitlab.example.com:acme/team/specs.git",
        "git_http_url": "https://gitlab.example.com/acme/team/specs.git", "namespace": "acme"},
        "repository": {"name": "specs", "url": "git@gitlab.example.com:acme/team/specs.git", "homepage": "x", "visibility_level": 0}}"#;
    const GITEA: &str = r#"{"ref": "refs/tags/v1", "repository": {"html_url": "https://git.example.com:3000/acme/specs",
        "ssh_url": "ssh://git@git.example.com:2222/acme/specs.git", "clone_url": "https://git.example.com:3000/acme/specs.git"}}"#;
    const BITBUCKET: &str = r#"{"push": {"changes": [{"new": {"type": "branch", "name": "main"}}]}, "repository": {"name": "specs",
        "links": {"self": {"href": "https://api.bitbucket.org/2.0/repositories/acme/specs"},
        "html": {"href": "https://bitbucket.org/acme/specs"}, "avatar": {"href": "y"}}}}"#;

    fn push(body: &str) -> Push {
        Push::parse("shop", body.as_bytes()).unwrap()
    }

    #[test]
    fn parses_every_git_host_and_url_form() {
        for (body, url) in [
            (GITHUB, "https://github.com/acme/specs"),
            (GITHUB, "ssh://git@github.com/acme/specs.git"),
            (GITLAB, "https://gitlab.example.com/acme/team/specs.git"),
            (GITEA, "https://git.example.com:3000/acme/specs"),
            (GITEA, "ssh://git@git.example.com:2222/acme/specs"),
            (BITBUCKET, "https://bitbucket.org/acme/specs.git"),
        ] {
            let revision = if body == GITEA { "v1" } else { "main" };
            assert!(push(body).affects(url, revision), "{url}: {:?}", push(body));
        }
    }

    #[test]
    fn other_repositories_and_branches_are_ignored() {
        let pushed = push(GITHUB);
        assert!(pushed.affects("https://github.com/acme/specs", "refs/heads/main"));
        for (url, revision) in [
            ("https://github.com/acme/specs", "release"),
            ("https://github.com/acme/specs", "refs/heads/release"),
            ("https://github.com/acme/specs-old", "main"),
            ("https://github.com/other/specs", "main"),
            ("https://github.com.example.com/acme/specs", "main"),
        ] {
            assert!(!pushed.affects(url, revision), "{url} {revision}");
        }
        assert!(push(BITBUCKET).affects("https://bitbucket.org/acme/specs", "any"), "it does not say which branch");
    }

    #[test]
    fn rejects_other_requests() {
        let error = |body: &str| Push::parse("shop", body.as_bytes()).unwrap_err().to_string();
        assert!(error("{\"repository\": ").contains("line 1 column 15"));
        assert!(error("[]").contains("invalid"));
        assert!(error(r#"{"repository": {"url": 7}}"#).contains("column"));
        for nothing in ["{}", r#"{"repository": {"url": "specs"}}"#, r#"{"repository": {"url": "file:///etc/passwd"}}"#]
        {
            assert!(error(nothing).contains("no"), "{}", error(nothing));
        }
        let long = format!(r#"{{"repository": {{"url": "https://x/{}"}}}}"#, "a".repeat(MAX_NAME));
        assert!(matches!(Push::parse("shop", long.as_bytes()), Err(PushError::NoRepository)));
    }

    proptest! {
        #[test]
        fn a_parsed_push_is_small(
            urls in proptest::collection::vec("(https|ssh|git|x)://[a-zİ@:./\"]{0,600}", 0..20), reference in "[\\PC\n]{0,600}",
        ) {
            let links: Vec<_> = urls.iter().map(|url| serde_json::json!({"href": url})).collect();
            let body = serde_json::json!({"ref": reference, "repository": {"links": {"clone": links}}});
            if let Ok(push) = Push::parse("shop", body.to_string().as_bytes()) {
                prop_assert!(serde_json::to_vec(&push).unwrap().len() < 8000, "Postgres passes on no more");
                let again: Push = serde_json::from_str(&serde_json::to_string(&push).unwrap()).unwrap();
                prop_assert_eq!(again, push);
            }
        }
    }
}
