//! `wisp serve --build --watch`: rebuilds the handlers whose sources change and reloads their models.

use crate::build::watch::{SourceWatch, WatchEvent};
use crate::build::{BuiltHandler, Change};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use wisp_protocol::call::ModelName;
use wisp_serving::Serving;

/// The time between two checks of the sources, of which a change needs two.
const INTERVAL: Duration = Duration::from_millis(250);

/// Rebuilds and reloads while the server runs. Without a watch, nothing happens.
pub(super) fn rebuild_on_change(
    serving: &Arc<Serving>,
    watch: Option<SourceWatch>,
) -> impl Future<Output = Infallible> + use<> {
    let serving = Arc::clone(serving);
    async move {
        let Some(mut watch) = watch else {
            return std::future::pending::<Infallible>().await;
        };
        tracing::info!("watching the sources of handlers");
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let check = move || {
                let events = watch.check();
                (watch, events)
            };
            // A build takes seconds.
            let Ok((returned, events)) = tokio::task::spawn_blocking(check).await else {
                tracing::error!(
                    "the sources of handlers are no longer watched: a build has panicked"
                );
                return std::future::pending::<Infallible>().await;
            };
            watch = returned;
            for event in events {
                apply(&serving, event).await;
            }
        }
    }
}

/// Reloads the models whose handlers were built, and logs the outcome.
async fn apply(serving: &Serving, event: WatchEvent) {
    match event {
        WatchEvent::Built(handlers) => {
            for handler in handlers {
                reload(serving, handler).await;
            }
        }
        WatchEvent::Failed { models, error } => {
            let (models, error) = (models.join(", "), format!("{error:#}"));
            tracing::warn!(
                models,
                error,
                "the handler is not rebuilt; the previous one stays in service"
            );
        }
        WatchEvent::NotFound(error) => {
            let error = format!("{error:#}");
            tracing::warn!(error, "the sources of handlers cannot be found");
        }
    }
}

async fn reload(serving: &Serving, handler: BuiltHandler) {
    let model = handler.name;
    match handler.change {
        Change::Written => {}
        Change::Same | Change::UpToDate | Change::Kept => {
            return tracing::info!(%model, "the handler is rebuilt and unchanged");
        }
    }
    let Ok(name) = ModelName::new(&model) else {
        return tracing::warn!(
            model,
            "rebuilt, but the name of its directory is not a valid model name"
        );
    };
    match serving.reload(name).await {
        Ok(()) => tracing::info!(%model, "the handler is rebuilt, and the model reloaded"),
        // The reason is logged with its causes where the model is loaded.
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                %model,
                error,
                "the handler is rebuilt, but the model cannot be loaded; the previous version stays in service"
            );
        }
    }
}
