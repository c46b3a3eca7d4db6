//! Tests of the identification by keys and by certificates, and of records with errors.

use super::*;
use crate::tenants::records::{NewKey, NewTenant};
use std::time::{Duration, UNIX_EPOCH};

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1000)
}

fn with_key(key: &str) -> Presented<'_> {
    Presented {
        key: Some(key),
        subjects: None,
    }
}

fn add(records: &mut TenantRecords, id: &str, key: NewKey) -> anyhow::Result<String> {
    let new = NewTenant {
        id: id.parse()?,
        weight: 1,
        anonymous: id == "guest",
        isolation: None,
        limits: Limits::default(),
        key,
    };
    Ok(records.add(&new, now())?.reveal())
}

const KEY: NewKey = NewKey {
    role: Role::Deploy,
    lifetime: Some(Duration::from_secs(10)),
};

#[test]
fn a_key_identifies_its_tenant_until_it_expires() -> anyhow::Result<()> {
    let mut records = TenantRecords::default();
    let (acme, other) = (
        add(&mut records, "acme", KEY)?,
        add(&mut records, "other", KEY)?,
    );
    let set = TenantSet::new(&records)?;
    for (key, tenant) in [(&acme, "acme"), (&other, "other")] {
        let key = key.as_str();
        let identity = set.identify(with_key(key), now())?;
        assert_eq!(identity.tenant.id.as_str(), tenant);
        assert_eq!(identity.role, Role::Deploy);
        let last = now() + Duration::from_secs(9);
        assert!(set.identify(with_key(key), last).is_ok());
        let end = now() + Duration::from_secs(10);
        assert_eq!(set.identify(with_key(key), end), Err(NotAuthenticated));
    }
    Ok(())
}

#[test]
fn a_verified_key_is_valid_until_it_is_revoked_or_expires() -> anyhow::Result<()> {
    let mut records = TenantRecords::default();
    let key = add(&mut records, "acme", KEY)?;
    let set = TenantSet::new(&records)?;
    let verified = set.identify(with_key(&key), now())?;
    assert_eq!(set.renew((verified.key, None), now()), Ok(verified.clone()));
    let end = now() + Duration::from_secs(10);
    assert_eq!(set.renew((verified.key, None), end), Err(NotAuthenticated));
    assert_eq!(set.renew((None, None), now()), Err(NotAuthenticated));
    records.revoke_all(&verified.tenant.id)?;
    add(&mut records, "guest", KEY)?;
    let set = TenantSet::new(&records)?;
    assert_eq!(
        set.renew((verified.key, None), now()),
        Err(NotAuthenticated)
    );
    let guest = set.renew((None, None), now())?;
    assert_eq!((guest.tenant.id.as_str(), guest.key), ("guest", None));
    Ok(())
}

#[test]
fn anything_but_a_whole_valid_key_is_nobodys() -> anyhow::Result<()> {
    let mut records = TenantRecords::default();
    let (acme, other) = (
        add(&mut records, "acme", KEY)?,
        add(&mut records, "guest", KEY)?,
    );
    let set = TenantSet::new(&records)?;
    let id = |key: &str| key[..key.len() - 64].to_owned();
    let secret = |key: &str| key[key.len() - 64..].to_owned();
    let mut last = acme.clone().into_bytes();
    if let Some(byte) = last.last_mut() {
        *byte = if *byte == b'0' { b'1' } else { b'0' };
    }
    for wrong in [
        String::new(),
        "anonymous".to_owned(),
        id(&acme) + &secret(&other),
        id(&acme) + &"0".repeat(64),
        ApiKey::of_nobody().reveal(),
        ApiKey::random()?.reveal(),
        String::from_utf8(last)?,
        records.tenants["acme"].keys[0].hash.clone(),
    ] {
        let found = set.identify(with_key(&wrong), now());
        assert_eq!(found, Err(NotAuthenticated), "{wrong}");
    }
    Ok(())
}

#[test]
fn without_a_key_only_an_anonymous_tenant_may_infer() -> anyhow::Result<()> {
    let mut records = TenantRecords::default();
    add(&mut records, "acme", KEY)?;
    let closed = TenantSet::new(&records)?;
    assert_eq!(
        closed.identify(Presented::default(), now()),
        Err(NotAuthenticated)
    );
    add(&mut records, "guest", KEY)?;
    let open = TenantSet::new(&records)?;
    let guest = open.identify(Presented::default(), now())?;
    assert_eq!(
        (guest.tenant.id.as_str(), guest.role),
        ("guest", Role::Infer)
    );
    Ok(())
}

#[test]
fn a_tenant_with_models_is_isolated_as_the_server_unless_its_record_asks_for_more()
-> anyhow::Result<()> {
    let infer = NewKey {
        role: Role::Infer,
        lifetime: None,
    };
    let mut records = TenantRecords::default();
    for (id, key) in [
        ("deploys", KEY),
        ("named", KEY),
        ("infers", infer),
        ("deployed", infer),
        ("local", KEY),
    ] {
        add(&mut records, id, key)?;
    }
    if let Some(named) = records.tenants.get_mut("named") {
        named.isolation = Some(Isolation::Cordon);
    }
    // Its key that may deploy was revoked, and its models are still there.
    let with_models: BTreeSet<TenantId> =
        BTreeSet::from(["deployed".parse()?, "local".parse()?, "named".parse()?]);
    let set = TenantSet::isolating(&records, Isolation::Worker, &with_models)?;
    let levels = set
        .tenants()
        .map(|tenant| (tenant.id.as_str(), tenant.isolation));
    let levels: Vec<(&str, Isolation)> = levels.collect();
    let expected = [
        ("deployed", Isolation::Worker),
        ("deploys", Isolation::Worker),
        ("infers", Isolation::Shared),
        ("local", Isolation::Shared),
        ("named", Isolation::Cordon),
    ];
    assert_eq!(levels, expected);
    if let Some(local) = records.tenants.get_mut("local") {
        local.isolation = Some(Isolation::Worker);
    }
    let refused = TenantSet::new(&records).err();
    assert_eq!(refused, Some(RecordError::LocalIsolation));
    Ok(())
}

#[test]
fn records_with_an_error_are_no_tenants() -> anyhow::Result<()> {
    let mut records = TenantRecords::default();
    add(&mut records, "acme", KEY)?;
    let changed = |change: &dyn Fn(&mut TenantRecords)| {
        let mut records = records.clone();
        change(&mut records);
        TenantSet::new(&records).err()
    };
    let acme = || records.tenants["acme"].clone();
    assert!(changed(&|_| ()).is_none());
    let errors = [
        changed(&|records| {
            let record = acme();
            records.tenants.insert("../etc".to_owned(), record);
        }),
        changed(&|records| {
            let record = acme();
            records.tenants.insert("other".to_owned(), record);
        }),
        changed(&|records| {
            let record = TenantRecord {
                weight: 0,
                ..acme()
            };
            records.tenants.insert("acme".to_owned(), record);
        }),
        changed(&|records| {
            let mut record = acme();
            record.keys.iter_mut().for_each(|key| key.hash.truncate(9));
            records.tenants.insert("acme".to_owned(), record);
        }),
    ];
    let messages: Vec<String> = errors
        .iter()
        .map(|error| error.as_ref().map_or(String::new(), ToString::to_string))
        .collect();
    for (message, part) in messages
        .iter()
        .zip(["../etc", "two keys", "weight", "key 1 of tenant"])
    {
        assert!(message.contains(part), "{messages:?}");
    }
    Ok(())
}

/// Returns the names, as a certificate has them.
fn names(names: &[&str]) -> anyhow::Result<Vec<Subject>> {
    let names = names.iter().map(|name| name.parse::<Subject>());
    Ok(names.collect::<Result<Vec<Subject>, _>>()?)
}

/// Returns records with names for two tenants, with the key of the first.
fn with_names() -> anyhow::Result<(TenantRecords, String)> {
    let mut records = TenantRecords::default();
    let key = add(&mut records, "acme", KEY)?;
    add(&mut records, "other", KEY)?;
    for (id, name, role) in [
        ("acme", "uri:spiffe://example.org/acme", Role::Infer),
        ("acme", "dns:deploy.acme.example", Role::Deploy),
        ("other", "dn:CN=other,O=Example", Role::Admin),
    ] {
        records.add_subject(&id.parse()?, &name.parse()?, role)?;
    }
    Ok((records, key))
}

#[test]
fn a_certificate_is_the_tenant_of_its_names_with_their_strongest_role() -> anyhow::Result<()> {
    let (records, _) = with_names()?;
    let set = TenantSet::new(&records)?;
    for (found, expected) in [
        (
            &["uri:spiffe://example.org/acme"][..],
            Some(("acme", Role::Infer)),
        ),
        (
            &[
                "dns:deploy.acme.example",
                "dns:unknown.example",
                "uri:spiffe://example.org/acme",
            ],
            Some(("acme", Role::Deploy)),
        ),
        (&["dn:CN=other,O=Example"], Some(("other", Role::Admin))),
        // Of nobody: another path, another kind, a longer name.
        (&["uri:spiffe://example.org/acme/2"], None),
        (&["dns:example.org"], None),
        (&["dn:CN=other"], None),
        (&[], None),
        // Of two tenants.
        (
            &["uri:spiffe://example.org/acme", "dn:CN=other,O=Example"],
            None,
        ),
    ] {
        let subjects = names(found)?;
        let presented = Presented {
            key: None,
            subjects: Some(&subjects),
        };
        let identity = set.identify(presented, now()).ok();
        let identity = identity.map(|identity| {
            assert_eq!(identity.key, None);
            (identity.tenant.id.to_string(), identity.role)
        });
        let expected = expected.map(|(tenant, role)| (tenant.to_owned(), role));
        assert_eq!(identity, expected, "{found:?}");
    }
    Ok(())
}

#[test]
fn a_key_decides_unless_the_certificate_is_that_of_another_tenant() -> anyhow::Result<()> {
    let (mut records, key) = with_names()?;
    add(&mut records, "guest", KEY)?;
    let set = TenantSet::new(&records)?;
    let acme = names(&["uri:spiffe://example.org/acme"])?;
    let other = names(&["dn:CN=other,O=Example"])?;
    let nobody = names(&["dns:machine.example"])?;
    let wrong = ApiKey::random()?.reveal();
    for (key, subjects, expected) in [
        (
            Some(key.as_str()),
            Some(&acme),
            Some(("acme", Role::Deploy)),
        ),
        (
            Some(key.as_str()),
            Some(&nobody),
            Some(("acme", Role::Deploy)),
        ),
        (Some(key.as_str()), Some(&other), None),
        (Some(wrong.as_str()), Some(&acme), None),
        (Some(""), Some(&acme), None),
        // A certificate of nobody is not the lack of one.
        (None, Some(&nobody), None),
        (None, None, Some(("guest", Role::Infer))),
    ] {
        let presented = Presented {
            key,
            subjects: subjects.map(Vec::as_slice),
        };
        let identity = set.identify(presented, now()).ok();
        let found = identity
            .as_ref()
            .map(|identity| (identity.tenant.id.as_str(), identity.role));
        assert_eq!(found, expected, "{key:?} {subjects:?}");
        if let Some(identity) = &identity {
            let verified = (identity.key, presented.subjects);
            assert_eq!(set.renew(verified, now()).as_ref(), Ok(identity));
        }
    }
    Ok(())
}

#[test]
fn a_certificate_is_nobodys_once_its_name_is_removed() -> anyhow::Result<()> {
    let (mut records, _) = with_names()?;
    let subjects = names(&["uri:spiffe://example.org/acme"])?;
    let verified = (None, Some(subjects.as_slice()));
    assert!(TenantSet::new(&records)?.renew(verified, now()).is_ok());
    records.remove_subject(&"acme".parse()?, &subjects[0])?;
    let set = TenantSet::new(&records)?;
    assert_eq!(set.renew(verified, now()), Err(NotAuthenticated));
    Ok(())
}

#[test]
fn names_and_signing_keys_with_an_error_are_no_tenants() -> anyhow::Result<()> {
    let (records, _) = with_names()?;
    let changed = |id: &str, change: &dyn Fn(&mut TenantRecord)| {
        let mut records = records.clone();
        records.tenants.entry(id.to_owned()).and_modify(change);
        let error = TenantSet::new(&records).err();
        error.map_or(String::new(), |error| error.to_string())
    };
    let rename = |name: &'static str| {
        move |record: &mut TenantRecord| {
            let subjects = &mut record.subjects;
            subjects
                .iter_mut()
                .for_each(|subject| subject.name = name.to_owned());
        }
    };
    for (name, part) in [
        ("dns:*.example", "`dns:*.example`"),
        ("acme", "is not a name of a client certificate"),
        ("dn:CN=a", "is listed twice"),
    ] {
        let error = changed("acme", &rename(name));
        assert!(error.contains(part), "{error}");
    }
    let error = changed("other", &rename("dns:deploy.acme.example"));
    assert!(error.contains("is listed twice"), "{error}");
    let error = changed("acme", &|record| record.signing_keys.push("a".to_owned()));
    assert!(error.contains("signing key 1 of tenant `acme`"), "{error}");
    let mut local = TenantRecords::default();
    add(&mut local, "local", KEY)?;
    local
        .tenants
        .entry("local".to_owned())
        .and_modify(|record| record.require_signature = true);
    let refused = TenantSet::new(&local).err();
    assert_eq!(refused, Some(RecordError::LocalSignatures));
    Ok(())
}
