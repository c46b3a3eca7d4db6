//! Values that are built once, usually by [`Handler::init`](crate::Handler::init).

use crate::{Result, deployment};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A value for a `static` that is built when it is first needed.
///
/// A handler builds its tables in [`Handler::init`](crate::Handler::init), so that every request finds
/// them. One that forgets to builds them in each request, which is slow and not wrong.
///
/// ```
/// use wisp_handler::{Handler, Lazy, Result, Signature};
///
/// /// The square roots of all bytes.
/// static ROOTS: Lazy<Vec<f32>> = Lazy::new(|| Ok((0..=255_u8).map(|byte| f32::from(byte).sqrt()).collect()));
///
/// struct Roots;
///
/// impl Handler for Roots {
///     fn signature() -> Signature {
///         // ...
/// #       Signature::new()
///     }
///
///     fn init() -> Result<()> {
///         ROOTS.get()?;
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result<()> {
/// Roots::init()?;
/// assert_eq!(ROOTS.get()?[9], 3.0);
/// # Ok(())
/// # }
/// ```
///
/// Natively, each [`testing::Model`](crate::testing::Model) has a value of its own.
#[derive(Debug)]
pub struct Lazy<T: 'static> {
    build: fn() -> Result<T>,
    /// The values by the deployment that they were built for. A component has only one.
    values: Mutex<Vec<(u64, &'static T)>>,
}

impl<T: 'static> Lazy<T> {
    /// Creates the value without building it.
    pub const fn new(build: fn() -> Result<T>) -> Self {
        Self {
            build,
            values: Mutex::new(Vec::new()),
        }
    }

    /// Returns the value, and builds it before if necessary.
    ///
    /// # Errors
    /// Returns the error with which the value cannot be built. The next call tries again.
    pub fn get(&self) -> Result<&'static T> {
        let current = deployment::number();
        let built = self
            .values()
            .iter()
            .find(|(number, _)| *number == current)
            .map(|(_, value)| *value);
        if let Some(value) = built {
            return Ok(value);
        }
        // Not locked meanwhile: the value may be built from other ones.
        let value: &'static T = Box::leak(Box::new((self.build)()?));
        self.values().push((current, value));
        Ok(value)
    }

    fn values(&self) -> MutexGuard<'_, Vec<(u64, &'static T)>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Model;
    use crate::{Error, config};
    use std::cell::Cell;

    thread_local! {
        static BUILDS: Cell<u32> = const { Cell::new(0) };
    }

    static NAME: Lazy<String> = Lazy::new(|| {
        BUILDS.set(BUILDS.get() + 1);
        config::require("name")
    });

    #[test]
    fn a_value_is_built_once_for_each_model_and_again_after_a_failure() -> Result<()> {
        for name in ["a", "b"] {
            BUILDS.set(0);
            Model::new().with_config("name", name).run(|| {
                assert_eq!(NAME.get()?, name);
                assert_eq!(NAME.get()?, name);
                Ok::<(), Error>(())
            })?;
            assert_eq!(BUILDS.get(), 1);
        }
        Model::new().run(|| {
            assert!(NAME.get().is_err());
            assert!(NAME.get().is_err());
        });
        assert_eq!(BUILDS.get(), 3);
        Ok(())
    }
}
