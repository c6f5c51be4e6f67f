//! Constitution: its document can be used.

use enact_crds::ConstitutionSpec;
use enact_domain::speckit::constitution;

use super::{Admission, Validate, document};
use crate::denial::{Denial, Outcome};
use crate::request::Request;
use crate::world::World;

impl<W: World> Validate<ConstitutionSpec> for Admission<W> {
    async fn validate(&self, _: &Request, spec: ConstitutionSpec) -> Outcome {
        let checked = document::check("spec.source", Some(&spec.source), constitution::parse);
        Denial::unless_empty(checked.causes)?;
        Ok(checked.warnings)
    }
}
