//! Tests of the choice of the worker that gets a request.

use super::*;
use crate::worker_process::StartedWorker;
use std::collections::BTreeSet;
use std::io;
use wisp_serving::tenants::signing_key::SigningRules;
use wisp_serving::tenants::tenant_grant::TenantGrant;

/// A source of workers that none of these tests needs.
#[derive(Debug)]
struct Unused;

impl StartWorker for Unused {
    fn start(&self, _: &Tenant, _: usize) -> io::Result<StartedWorker> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[tokio::test]
async fn no_request_goes_to_a_worker_with_other_rules_for_signatures() {
    let forwarder = Forwarder::new(Arc::new(Unused));
    let (first, in_flight) = forwarder.slot(&Arc::new(Tenant::local()));
    // Another change waits for the next look at the tenants.
    let weighty = Arc::new(Tenant {
        weight: 2,
        ..Tenant::local()
    });
    let (same, use_of_same) = forwarder.slot(&weighty);
    assert!(Arc::ptr_eq(&first, &same));
    drop(use_of_same);
    let signed = Arc::new(Tenant {
        signatures: SigningRules {
            is_required: true,
            ..SigningRules::default()
        },
        ..Tenant::local()
    });
    let (second, _) = forwarder.slot(&signed);
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(&second, &forwarder.slot(&signed).0));
    // The first one is kept for the request that it has.
    let tenants = BTreeMap::from([(signed.id.clone(), signed)]);
    forwarder.slots().retire(&tenants);
    assert_eq!(forwarder.slots().retired.len(), 1);
    drop(in_flight);
    forwarder.slots().retire(&tenants);
    assert!(forwarder.slots().retired.is_empty());
    assert!(forwarder.slots().current.contains_key(&TenantId::local()));
}

#[tokio::test]
async fn no_request_goes_to_a_worker_with_other_grants() {
    let forwarder = Forwarder::new(Arc::new(Unused));
    let with = |grants: &[TenantGrant]| {
        Arc::new(Tenant {
            grants: grants.iter().copied().collect::<BTreeSet<TenantGrant>>(),
            ..Tenant::local()
        })
    };
    let both = with(&[TenantGrant::Clock, TenantGrant::Network]);
    let (first, _in_flight) = forwarder.slot(&both);
    assert!(Arc::ptr_eq(&first, &forwarder.slot(&both).0));
    // Fewer grants, none, and one again.
    let mut before = first;
    for grants in [&[TenantGrant::Clock][..], &[], &[TenantGrant::Network]] {
        let (next, _) = forwarder.slot(&with(grants));
        assert!(!Arc::ptr_eq(&before, &next), "{grants:?}");
        assert_eq!(next.tenant().grants.len(), grants.len());
        before = next;
    }
    // Those without requests have ended with the last look.
    forwarder.slots().retire(&BTreeMap::new());
    assert_eq!(forwarder.slots().retired.len(), 1);
}
