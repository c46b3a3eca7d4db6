//! The limits of the response cache, and the Redis server in which several servers share their responses.

use super::{Milliseconds, value};
use crate::failure::{BadConfiguration, bad_configuration};
use anyhow::Context;
use clap::Args;
use std::path::PathBuf;
use wisp_backend::bounded_file::read_regular;
use wisp_serving::response_cache::ResponseCacheOptions;
use wisp_serving::response_cache::redis_server::{RedisServer, RedisSettings};

/// The environment variable with the password of the Redis server. It is not a setting, so that it is never shown.
const PASSWORD_VARIABLE: &str = "WISP_RESPONSE_CACHE_PASSWORD";

/// The size limit of the file with certificates, far above the file with the authorities of a system.
const MAX_CERTIFICATE_BYTES: u64 = 4 << 20;

/// The settings of the response cache. Models opt in with `[cache]` in model.toml.
#[derive(Debug, Args)]
pub(crate) struct ResponseCacheArgs {
    /// Memory in bytes for the cached responses of models with `cache.enabled` in model.toml, in addition to
    /// the memory of requests.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_RESPONSE_CACHE_BYTES",
        default_value_t = ResponseCacheOptions::default().bytes,
        value_parser = value::at_least_one
    )]
    pub(crate) response_cache_bytes: usize,

    /// Do not cache larger responses.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_RESPONSE_CACHE_MAX_RESPONSE_BYTES",
        default_value_t = ResponseCacheOptions::default().max_response_bytes,
        value_parser = value::at_least_one
    )]
    pub(crate) response_cache_max_response_bytes: usize,

    /// Share cached responses with other servers in this Redis server: redis://HOST:PORT, or
    /// rediss://HOST:PORT for TLS. The password is the value of WISP_RESPONSE_CACHE_PASSWORD, or part of
    /// the address [default: none].
    #[arg(long, value_name = "URL", env = "WISP_RESPONSE_CACHE_URL")]
    pub(crate) response_cache_url: Option<String>,

    /// A PEM file with the certificate of the authority that issued the certificate of the Redis server [default: the
    /// authorities that the system trusts].
    #[arg(long, value_name = "FILE", env = "WISP_RESPONSE_CACHE_CA")]
    pub(crate) response_cache_ca: Option<PathBuf>,

    /// Timeout for a response of the Redis server. A request waits for it at most twice. After three failures, requests
    /// do not wait, except for one each second.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_RESPONSE_CACHE_TIMEOUT_MILLISECONDS",
        default_value_t = Milliseconds(ResponseCacheOptions::default().redis_timeout)
    )]
    pub(crate) response_cache_timeout_milliseconds: Milliseconds,
}

impl ResponseCacheArgs {
    /// Returns the settings of the cache. Connects to nothing.
    pub(crate) fn options(&self) -> anyhow::Result<ResponseCacheOptions> {
        Ok(ResponseCacheOptions {
            bytes: self.response_cache_bytes,
            max_response_bytes: self.response_cache_max_response_bytes,
            redis: self.redis()?,
            redis_timeout: self.response_cache_timeout_milliseconds.0,
        })
    }

    fn redis(&self) -> anyhow::Result<Option<RedisServer>> {
        let Some(url) = &self.response_cache_url else {
            return match self.response_cache_ca {
                Some(_) => Err(bad_configuration(
                    "--response-cache-ca is of use only with --response-cache-url: give both, or neither",
                )),
                None => Ok(None),
            };
        };
        let authority = self.response_cache_ca.as_ref().map(|file| {
            read_regular(file, MAX_CERTIFICATE_BYTES).with_context(|| {
                let file = file.display();
                BadConfiguration::new(format!("cannot read `{file}` of --response-cache-ca"))
            })
        });
        let password = std::env::var(PASSWORD_VARIABLE).ok();
        let server = RedisServer::new(RedisSettings {
            url,
            password: password.as_deref(),
            authority: authority.transpose()?,
        });
        let server = server.context(BadConfiguration::new(
            "cannot use the Redis server of --response-cache-url",
        ))?;
        Ok(Some(server))
    }
}
