//! Specification: its document can be used, its constitution is in its own namespace.

use enact_crds::SpecificationSpec;
use enact_domain::speckit::spec;

use super::{Admission, Validate, document, reference};
use crate::denial::{Denial, Outcome};
use crate::request::Request;
use crate::world::{Referent, World};

const CONSTITUTION: &str = "spec.constitutionRef";

impl<W: World> Validate<SpecificationSpec> for Admission<W> {
    async fn validate(&self, request: &Request, spec: SpecificationSpec) -> Outcome {
        let mut checked = document::check("spec.source", spec.source.as_ref(), spec::parse);
        let constitution = spec.constitution_ref.as_ref();
        checked.causes.extend(constitution.and_then(|r| reference::check(CONSTITUTION, Referent::Constitution, r)));
        Denial::unless_empty(checked.causes)?;
        let mut warnings = checked.warnings;
        if let Some(constitution) = constitution {
            warnings.extend(self.warn_unless_exists(request, CONSTITUTION, Referent::Constitution, constitution).await);
        }
        Ok(warnings)
    }
}
