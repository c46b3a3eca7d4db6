//! Tests of the lookup of names among the models of a tenant and the public ones.

use super::*;
use crate::ServingOptions;
use std::collections::BTreeMap;
use wisp_protocol::call::VersionChoice;
use wisp_protocol::v2::IndexFilter;

/// Returns a registry of models that cannot be called.
fn registry(models: &[&str]) -> anyhow::Result<Registry> {
    let mut entries = BTreeMap::new();
    for model in models {
        let entry = ModelEntry::problem(format!("the model {model} is broken"));
        entries.insert(ModelName::new(model)?, entry);
    }
    Ok(Registry::new(entries))
}

/// Returns the service of a tenant with these models of its own.
fn tenant(id: &str, public: &Arc<Serving>, own: &[&str]) -> anyhow::Result<Serving> {
    let tenant = Tenant {
        id: id.parse()?,
        ..Tenant::local()
    };
    let account = Account::open(&tenant, 1);
    Ok(Serving {
        public: Some(Arc::clone(public)),
        registry: Arc::new(registry(own)?),
        ..public.with_tenant(Arc::new(tenant), account)
    })
}

fn public(models: &[&str]) -> anyhow::Result<Arc<Serving>> {
    let registry = registry(models)?;
    Ok(Arc::new(Serving::new(
        registry,
        None,
        ServingOptions::default(),
    )))
}

fn target(model: &str) -> anyhow::Result<Target> {
    Ok(Target {
        model: ModelName::new(model)?,
        version: VersionChoice::Default,
    })
}

fn names(serving: &Serving) -> Vec<String> {
    let models = serving.models().into_iter();
    models.map(|model| model.to_string()).collect()
}

#[test]
fn a_tenant_sees_its_own_models_and_the_public_ones() -> anyhow::Result<()> {
    let public = public(&["shared", "wine"])?;
    let acme = tenant("acme", &public, &["secret", "wine"])?;
    let other = tenant("other", &public, &[])?;
    assert_eq!(names(&acme), ["secret", "shared", "wine"]);
    assert_eq!(names(&other), ["shared", "wine"]);
    assert_eq!(names(&public), ["shared", "wine"]);
    let indexed: Vec<String> = acme
        .index(&IndexFilter::All)
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    assert_eq!(indexed, ["secret", "shared", "wine"]);
    let own: Vec<String> = acme
        .own_entries()
        .into_iter()
        .map(|(model, _)| model.to_string())
        .collect();
    assert_eq!(own, ["secret", "wine"]);
    Ok(())
}

#[tokio::test]
async fn the_model_of_another_tenant_has_the_answer_of_one_that_does_not_exist()
-> anyhow::Result<()> {
    let public = public(&["shared"])?;
    let _acme = tenant("acme", &public, &["secret"])?;
    let other = tenant("other", &public, &["own"])?;
    let mut answers = Vec::new();
    for model in ["secret", "absent"] {
        let target = target(model)?;
        let replaced = |text: String| text.replace(model, "M");
        let called = other.version(&target).await;
        let called = called
            .err()
            .map(|error| (error.kind(), replaced(error.to_string())));
        let states = other
            .states(&target)
            .err()
            .map(|error| replaced(error.to_string()));
        let statistics = other.statistics(Some(&target)).err();
        let statistics = statistics.map(|error| (error.kind(), replaced(error.to_string())));
        let versions = other.ready_versions(&target.model).err();
        let versions = versions.map(|error| replaced(error.to_string()));
        let release = other.release(&target.model).err();
        let release = release.map(|error| replaced(error.to_string()));
        assert!(!other.is_model_ready(&target));
        answers.push((called, states, statistics, versions, release));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(
        answers[0].0.as_ref().map(|(kind, _)| *kind),
        Some(ErrorKind::NotFound)
    );
    Ok(())
}

#[tokio::test]
async fn an_own_model_comes_before_a_public_one_of_the_same_name() -> anyhow::Result<()> {
    let public = public(&["wine"])?;
    let acme = tenant("acme", &public, &["wine"])?;
    acme.registry.replace(
        ModelName::new("wine")?,
        ModelEntry::problem("mine".to_owned()),
    );
    let reason = |called: Result<_, InferError>| {
        let error: Option<InferError> = called.err();
        error.map(|error| error.to_string()).unwrap_or_default()
    };
    let wine = target("wine")?;
    let own = reason(acme.version(&wine).await.map(drop));
    assert!(own.contains("mine"), "{own}");
    let shared = reason(public.version(&wine).await.map(drop));
    assert!(shared.contains("is broken"), "{shared}");
    Ok(())
}

#[test]
fn the_statistics_of_public_models_are_for_their_owner() -> anyhow::Result<()> {
    let public = public(&["shared"])?;
    let acme = tenant("acme", &public, &[])?;
    let refused = acme.statistics(Some(&target("shared")?)).err();
    assert_eq!(
        refused.map(|error| error.kind()),
        Some(ErrorKind::Forbidden)
    );
    let owner = public.statistics(Some(&target("shared")?)).err();
    assert_ne!(owner.map(|error| error.kind()), Some(ErrorKind::Forbidden));
    assert!(acme.statistics(None)?.is_empty());
    Ok(())
}

#[test]
fn the_body_limit_of_a_tenant_lowers_that_of_the_server() -> anyhow::Result<()> {
    let public = public(&[])?;
    let limit = public.max_body_bytes();
    for (own, expected) in [(None, limit), (Some(10), 10), (Some(u64::MAX), limit)] {
        let mut tenant = Tenant::local();
        tenant.limits.body_bytes = own;
        let account = Account::open(&tenant, 1);
        let serving = public.with_tenant(Arc::new(tenant), account);
        assert_eq!(serving.max_body_bytes(), expected);
    }
    Ok(())
}

#[test]
fn only_the_owner_of_the_server_may_have_any_number_of_models() -> anyhow::Result<()> {
    let public = public(&["shared"])?;
    let other = tenant("other", &public, &[])?;
    assert_eq!(public.max_models(), None);
    assert_eq!(other.max_models(), Some(UploadLimits::default().models));
    let mut limited = Tenant::clone(other.tenant());
    limited.limits.models = Some(3);
    let account = Account::open(&limited, 2);
    let limited = other.with_tenant(Arc::new(limited), account);
    assert_eq!(limited.max_models(), Some(3));
    Ok(())
}
