//! What the hub's answers mean to the user. Nothing here sees the token, and of addresses only the host is said:
//! those that a hub redirects to are signed.

use ureq::http::StatusCode;

use super::name::HubName;
use super::settings::Settings;
use crate::fail::Refusal;

/// What a refusal is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The repository.
    pub(crate) name: &'a HubName,
    /// The server, and whether a token was there.
    pub(crate) settings: &'a Settings,
    /// Who answered.
    pub(crate) host: &'a str,
}

impl Asked<'_> {
    /// For an answer that will not change by asking again. `code` is the hub's `x-error-code`.
    pub(crate) fn refused(self, status: StatusCode, code: &str) -> Refusal {
        match status.as_u16() {
            401 => self.unauthorized(),
            403 => self.forbidden(),
            404 => self.not_found(code),
            other => Refusal::missing(
                format!("`{}` answers {other} when asked for `{}`", self.host, self.name),
                "try again later, or another server with `HF_ENDPOINT`",
            ),
        }
    }

    fn unauthorized(self) -> Refusal {
        let page = self.page();
        if self.settings.token.is_some() {
            let what = format!("`{}` does not accept the token, or has no `{}` to show with it", self.host, self.name);
            return Refusal::missing(what, "check the name, and the token in `HF_TOKEN` or from `hf auth login`");
        }
        Refusal::missing(
            format!("`{}` shows no `{}` to someone without a token", self.host, self.name),
            format!(
                "check the name; a private or gated model needs a token in `HF_TOKEN` or from `hf auth login`, and for gated ones \
                 the terms accepted at {page}"
            ),
        )
    }

    fn forbidden(self) -> Refusal {
        Refusal::missing(
            format!("`{}` does not give out `{}` with this token", self.host, self.name),
            format!(
                "accept the terms at {}, and use a token that may read gated repositories (`HF_TOKEN`, `hf auth login`)",
                self.page()
            ),
        )
    }

    fn not_found(self, code: &str) -> Refusal {
        if code == "RevisionNotFound" || (code.is_empty() && self.name.revision.is_some()) {
            return Refusal::missing(
                format!("`{}` has no revision `{}`", self.name.repository(), self.name.revision()),
                format!("name a branch, a tag or a commit of {}", self.page()),
            );
        }
        Refusal::missing(
            format!("`{}` knows no `{}`", self.host, self.name),
            "check the spelling; names are `hf:ORG/NAME`, as in the address of the model's page",
        )
    }

    /// Nobody answered, or not for long enough.
    pub(crate) fn gave_up(self, what: &str) -> Refusal {
        Refusal::missing(
            format!("no `{}` from `{}`: {what}", self.name, self.host),
            "check the connection; `HTTPS_PROXY` names a proxy, `HF_ENDPOINT` another server; the same command goes on where this \
             one stopped, and with `HF_HUB_OFFLINE=1` only the cache is looked at",
        )
    }

    /// Nobody who is trusted vouches for the server.
    pub(crate) fn untrusted(self, what: &str) -> Refusal {
        Refusal::missing(
            format!("`{}` cannot be trusted: {what}", self.host),
            "behind a proxy that looks into connections, `SSL_CERT_FILE` names the PEM file with its certificate",
        )
    }

    /// What the server says does not fit together.
    pub(crate) fn nonsense(self, what: &str) -> Refusal {
        Refusal::missing(
            format!("`{}` gives no sensible answer about `{}`: {what}", self.host, self.name),
            "it is no hub, or not this hub's fault but that of a proxy on the way; see `HF_ENDPOINT`",
        )
    }

    fn page(self) -> String {
        format!("{}/{}", self.settings.endpoint, self.name.repository())
    }
}
