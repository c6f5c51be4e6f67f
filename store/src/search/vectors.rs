//! Embeddings in pgvector, where it is.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, Row as _};

use super::Filter;
use super::fuse::Key;
use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// What a text means to a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// Name of the model. Embeddings of two models are never compared.
    pub model: String,
    /// The vector; its length does not count.
    pub values: Vec<f32>,
}

/// An [`Embedding`] of length 1, as Postgres reads it.
pub(super) struct Unit<'e> {
    pub(super) model: &'e str,
    pub(super) dimensions: i32,
    pub(super) text: String,
}

impl Embedding {
    /// The vector of length 1 in the same direction.
    pub(super) fn unit(&self) -> Result<Unit<'_>, StoreError> {
        let invalid = |problem: &str| Err(StoreError::Invalid { what: "embedding", problem: problem.to_owned() });
        if !(1..=256).contains(&self.model.len()) || self.model.contains('\0') {
            return invalid("the model's name must have 1 to 256 bytes, none of them NUL");
        }
        // pgvector's own bound.
        if !(1..=16_000).contains(&self.values.len()) {
            return invalid("must have 1 to 16000 dimensions");
        }
        let length = self.values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        if !length.is_finite() || length == 0.0 {
            return invalid("must be finite and not zero: a vector without a direction is near to nothing");
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
    /// Whether the database keeps embeddings. Without pgvector it does not, and search is by words alone.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn has_vectors(&self) -> Result<bool, StoreError> {
        const DOING: &str = "look for pgvector";
        self.within(DOING, async {
            let mut session = self.session(DOING).await?;
            let home = self.vectors(&mut session).await.map_err(StoreError::while_doing(DOING))?;
            Ok(home.is_some())
        })
        .await
    }

    /// The schema that pgvector is in, quoted, if there is a table for embeddings. Once it is there, it is not asked for again.
    pub(super) async fn vectors(&self, session: &mut Session) -> Result<Option<String>, sqlx::Error> {
        if let Some(home) = self.vector_schema.get() {
            return Ok(Some(home.clone()));
        }
        let home = sqlx::query_scalar!(
            r#"select extnamespace::regnamespace::text as "home!" from pg_extension
            where extname = 'vector' and has_schema_privilege(extnamespace, 'usage')
                and to_regclass('enact.search_embeddings') is not null"#
        )
        .fetch_optional(session.statement())
        .await?;
        Ok(home.map(|home| self.vector_schema.get_or_init(|| home).clone()))
    }
}

/// The items whose meaning is nearest, nearest first. Exact: every vector of the tenant is compared.
pub(super) async fn nearest(
    session: &mut Session,
    home: &str,
    tenant: &str,
    unit: &Unit<'_>,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<Key>, sqlx::Error> {
    // Of vectors of length 1, the inner product orders like the cosine and costs a third.
    let nearest = format!(
        "select i.subject_uid::text, i.ordinal
        from enact.search_items i
        join enact.search_embeddings e on e.tenant_id = i.tenant_id and e.digest = i.digest
        where i.tenant_id = $1 and e.tenant_id = $1 and e.model = $2 and e.dimensions = $3
            and ($4::text[] is null or i.namespace = any($4)) and ($5::text[] is null or i.item_kind = any($5))
        order by e.embedding operator({home}.<#>) $6::{home}.vector, i.subject_uid, i.ordinal
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
    fn vectors_get_the_length_1() {
        assert_eq!(unit(&[3.0, 4.0]).unwrap(), "[6e-1,8e-1]");
        assert_eq!(unit(&[f32::MAX, 0.0]).unwrap(), "[1e0,0e0]");
        assert_eq!(unit(&[f32::MIN_POSITIVE]).unwrap(), "[1e0]");
    }

    #[test]
    fn what_has_no_direction_is_refused() {
        for values in [&[][..], &[0.0, 0.0], &[f32::NAN], &[f32::INFINITY, 1.0], &vec![1.0; 16_001]] {
            assert_eq!(unit(values).expect_err("no direction").category(), "invalid");
        }
        let unnamed = Embedding { model: String::new(), values: vec![1.0] };
        assert!(unnamed.unit().is_err());
    }
}
