//! Status writes: a merge patch with the fields that changed, and no request when nothing changed.

use enact_domain::condition::Condition as WantedCondition;
use enact_domain::time::Millis;
use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::error::Error;

/// The field manager of all writes of the operator.
pub const FIELD_MANAGER: &str = "enact-operator";

/// Returns the merge patch (RFC 7396) from `old` to `new`: the changed fields, and `null` for removed ones; none when they are equal.
pub fn merge_diff(old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    let (Value::Object(before), Value::Object(after)) = (old, new) else { return Some(new.clone()) };
    let mut patch = Map::new();
    for (key, value) in after {
        if let Some(change) = merge_diff(before.get(key).unwrap_or(&Value::Null), value) {
            patch.insert(key.clone(), change);
        }
    }
    for key in before.keys().filter(|k| !after.contains_key(*k)) {
        patch.insert(key.clone(), Value::Null);
    }
    Some(Value::Object(patch))
}

/// Writes the difference between `old` and `new` to the object's status. Returns the updated object; none when nothing changed or the
/// object was deleted.
///
/// # Errors
/// When the API server refuses.
pub async fn status<K, S>(ctx: &Context, api: &Api<K>, object: &K, old: Option<&S>, new: &S) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    S: Serialize,
{
    // The UID protects an object with the same name that was created in between.
    let written = write(ctx, api, object, &json!({ "uid": object.meta().uid }), old, new).await;
    if written.as_ref().is_err_and(Error::is_conflict) { Ok(None) } else { written }
}

/// Does the same if the object still has the version that `object` shows. A request of a process that led before can arrive late: it must
/// not undo what the next leader has written.
///
/// # Errors
/// When the API server refuses, also because the object has another version.
pub async fn status_of_version<K, S>(
    ctx: &Context,
    api: &Api<K>,
    object: &K,
    old: Option<&S>,
    new: &S,
) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    S: Serialize,
{
    let metadata = json!({ "uid": object.meta().uid, "resourceVersion": object.meta().resource_version });
    write(ctx, api, object, &metadata, old, new).await
}

/// Patches the status of the object that has this metadata.
async fn write<K, S>(
    ctx: &Context,
    api: &Api<K>,
    object: &K,
    metadata: &Value,
    old: Option<&S>,
    new: &S,
) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    S: Serialize,
{
    let kind = K::kind(&());
    let json = |s: &S| serde_json::to_value(s).map_err(|source| Error::Json { what: "a status", source });
    let before = old.map(json).transpose()?.unwrap_or(Value::Null);
    let Some(changes) = merge_diff(&before, &json(new)?) else { return Ok(None) };
    ctx.metrics.wrote("patch", &kind);
    let name = object.name_any();
    let patch = json!({ "metadata": metadata, "status": changes });
    match api.patch_status(&name, &PatchParams::apply(FIELD_MANAGER), &Patch::Merge(patch)).await {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(e)) if e.code == 404 => Ok(None),
        Err(e) => Err(Error::kube(format!("patch the status of {kind} {name}"))(e)),
    }
}

/// Merges conditions with those in the object's status.
pub fn conditions<K: Resource>(
    object: &K,
    old: &[enact_crds::common::Condition],
    new: Vec<WantedCondition>,
    now: Millis,
) -> Vec<enact_crds::common::Condition> {
    enact_crds::convert::conditions(old, new, object.meta().generation, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_only_changed_fields() {
        let old = json!({"a": 1, "b": {"c": [1, 2], "d": "x"}, "e": true});
        assert_eq!(merge_diff(&old, &old), None);
        let new = json!({"a": 1, "b": {"c": [2], "d": "x"}});
        assert_eq!(merge_diff(&old, &new), Some(json!({"b": {"c": [2]}, "e": null})));
        assert_eq!(merge_diff(&Value::Null, &new), Some(new));
    }
}
