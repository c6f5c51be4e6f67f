//! Reads the elements of a JSON array one after the other. A list of them can take a hundred times the memory of their text.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer as _};

/// Calls `element` for each element of an array.
///
/// # Errors
/// When it is not an array, or an element has another type. The elements before it were passed on.
pub(super) fn each<'a, T: Deserialize<'a>>(array: &'a [u8], element: impl FnMut(T)) -> serde_json::Result<()> {
    let mut reader = serde_json::Deserializer::from_slice(array);
    reader.deserialize_seq(Elements { element, of: PhantomData::<T> })?;
    reader.end()
}

struct Elements<T, F> {
    element: F,
    of: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>, F: FnMut(T)> Visitor<'de> for Elements<T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element()? {
            (self.element)(element);
        }
        Ok(())
    }
}
