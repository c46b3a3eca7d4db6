//! Tests of the choice of the worker that gets a request.

use super::*;
use crate::worker_process::StartedWorker;
use std::io;
use wisp_serving::tenants::signing_key::SigningRules;

/// A source of workers that none of these tests needs.
#[derive(Debug)]
struct Unused;

impl StartWorker for Unused {
    fn start(&self, _: &Tenant) -> io::Result<StartedWorker> {
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
