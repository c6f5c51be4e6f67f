//! Embeddings in pgvector.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, Row as _};

use super::fuse::Key;
use super::item::Filter;
use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// An embedding of a text by a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// Name of the model. Embeddings of different models are never compared.
    pub model: String,
    /// The vector; only its direction matters.
    pub values: Vec<f32>,
}

/// An [`Embedding`] of length 1 in the text form of pgvector.
pub(super) struct Unit<'e> {
    pub(super) model: &'e str,
    pub(super) dimensions: i32,
    pub(super) text: String,
}

impl Embedding {
    /// Returns the vector of length 1 in the same direction.
    pub(super) fn unit(&self) -> Result<Unit<'_>, StoreError> {
        let invalid = |problem: &str| Err(StoreError::Invalid { what: "embedding", problem: problem.to_owned() });
        if !(1..=256).contains(&self.model.len()) || self.model.contains('\0') {
            return invalid("must have a model name of 1 to 256 bytes without NUL");
        }
        // The limit of pgvector.
        if !(1..=16_000).contains(&self.values.len()) {
            return invalid("must have 1 to 16000 dimensions");
        }
        let length = self.values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        if !length.is_finite() || length == 0.0 {
            return invalid("must be finite and not zero, since other vectors have no direction to compare");
        }
        let mut text = String::with_capacity(self.values.len() * 12);
        for value in &self.values {
            text.push(if text.is_empty() { '[' } else { ',' });
            // Writing to a string cannot fail.
            let _ = write!(text, "{:e}", f64::from(*value) / length);
        }
        text.push(']');
        Ok(Unit { model: &self.model, dimensions: i32::try_from(self.values.len()).unwrap_or(i32::MAX), text })
    }
}

impl Store {
    /// Returns whether the database can store embeddings. Without pgvector it cannot, and search uses words only.
    pub async fn has_vectors(&self) -> Result<bool, StoreError> {
        const DOING: &str = "check for pgvector";
        self.with_timeout(DOING, async {
            let mut session = self.session(DOING).await?;
            let schema = self.vector_schema(&mut session).await.map_err(StoreError::while_doing(DOING))?;
            Ok(schema.is_some())
        })
        .await
    }

    /// Returns the quoted schema that contains pgvector, if the table of embeddings exists. Caches it when it exists.
    pub(super) async fn vector_schema(&self, session: &mut Session) -> Result<Option<String>, sqlx::Error> {
        if let Some(schema) = self.vector_schema.get() {
            return Ok(Some(schema.clone()));
        }
        let schema = sqlx::query_scalar!(
            r#"select extnamespace::regnamespace::text as "schema!" from pg_extension
            where extname = 'vector' and has_schema_privilege(extnamespace, 'usage')
                and to_regclass('enact.search_embeddings') is not null"#
        )
        .fetch_optional(session.statement())
        .await?;
        Ok(schema.map(|schema| self.vector_schema.get_or_init(|| schema).clone()))
    }
}

/// Returns the items with the nearest embeddings, nearest first. The search is exact: it compares every vector of the tenant.
pub(super) async fn nearest(
    session: &mut Session,
    schema: &str,
    tenant: &str,
    unit: &Unit<'_>,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<Key>, sqlx::Error> {
    // For vectors of length 1, the inner product gives the same order as the cosine at a third of the cost.
    let nearest = format!(
        "select i.subject_uid::text, i.ordinal
        from enact.search_items i
        join enact.search_embeddings e on e.tenant_id = i.tenant_id and e.digest = i.digest
        where i.tenant_id = $1 and e.tenant_id = $1 and e.model = $2 and e.dimensions = $3
            and ($4::text[] is null or i.namespace = any($4)) and ($5::text[] is null or i.item_kind = any($5))
        order by e.embedding operator({schema}.<#>) $6::{schema}.vector, i.subject_uid, i.ordinal
        limit $7"
    );
    let rows = sqlx::query(AssertSqlSafe(nearest))
        .bind(tenant)
        .bind(unit.model)
        .bind(unit.dimensions)
        .bind(filter.namespaces.as_deref())
        .bind(filter.kinds.as_deref())
        .bind(&unit.text)
        .bind(limit)
        .fetch_all(session.statement())
        .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(values: &[f32]) -> Result<String, StoreError> {
        Embedding { model: "m".into(), values: values.to_vec() }.unit().map(|unit| unit.text)
    }

    #[test]
    fn vectors_are_normalised() {
        assert_eq!(unit(&[3.0, 4.0]).unwrap(), "[6e-1,8e-1]");
        assert_eq!(unit(&[f32::MAX, 0.0]).unwrap(), "[1e0,0e0]");
        assert_eq!(unit(&[f32::MIN_POSITIVE]).unwrap(), "[1e0]");
    }

    #[test]
    fn rejects_vectors_without_a_direction() {
        for values in [&[][..], &[0.0, 0.0], &[f32::NAN], &[f32::INFINITY, 1.0], &vec![1.0; 16_001]] {
            assert_eq!(unit(values).expect_err("no direction").category(), "invalid");
        }
        let unnamed = Embedding { model: String::new(), values: vec![1.0] };
        assert!(unnamed.unit().is_err());
    }
}
