//! Tests of servers without tenants. Those with tenants and their models are in `tests/tenants.rs`.

use super::*;
use crate::ServingOptions;
use crate::registry::Registry;

#[test]
fn without_a_file_everyone_is_local_whatever_the_key() -> anyhow::Result<()> {
    let serving = Serving::new(Registry::default(), None, ServingOptions::default());
    let namespaces = Namespaces::local(Arc::new(serving));
    for key in [None, Some(""), Some("wisp_0_0")] {
        let presented = Presented {
            key,
            subjects: Some(&[]),
        };
        let caller = namespaces.identify(presented, SystemTime::now())?;
        assert!(caller.serving.tenant().id.is_local());
        assert_eq!(caller.role, Role::Deploy);
    }
    assert!(!namespaces.needs_keys());
    assert!(namespaces.tenants().is_empty());
    assert!(!namespaces.refresh()?);
    let changed = namespaces.change(|_| Ok(()));
    assert!(matches!(
        changed,
        Err(TenantsChangeError::Refresh(RefreshError::None))
    ));
    Ok(())
}
