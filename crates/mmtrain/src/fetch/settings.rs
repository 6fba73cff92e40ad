//! The environment of `huggingface_hub`: where its cache is, which server, which token, whether to connect at all.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// What the environment says. The variables are those of `huggingface_hub`'s `constants.py`.
#[derive(Debug)]
pub(crate) struct Settings {
    /// `HF_HUB_CACHE`, else `hub` in `HF_HOME`.
    pub(crate) cache: PathBuf,
    /// `HF_ENDPOINT`, without a slash at its end.
    #[cfg_attr(not(feature = "fetch"), expect(dead_code, reason = "only downloads have a server"))]
    pub(crate) endpoint: String,
    /// `HF_HUB_OFFLINE`
    #[cfg_attr(not(feature = "fetch"), expect(dead_code, reason = "only downloads connect"))]
    pub(crate) offline: bool,
    /// `HF_TOKEN`, else what `hf auth login` wrote down.
    #[cfg_attr(not(feature = "fetch"), expect(dead_code, reason = "only downloads have a token"))]
    pub(crate) token: Option<Token>,
    /// `SSL_CERT_FILE` or `REQUESTS_CA_BUNDLE`: who is trusted to vouch for servers, instead of Mozilla's list.
    #[cfg_attr(not(feature = "fetch"), expect(dead_code, reason = "only downloads are encrypted"))]
    pub(crate) certificates: Option<PathBuf>,
}

/// A secret. It is written into one header and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Token {
    /// The value of the header `authorization`.
    #[cfg_attr(not(feature = "fetch"), expect(dead_code, reason = "only downloads have headers"))]
    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// None where nothing is left, or what is left cannot stand in a header.
    fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Self(text.to_owned()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Settings {
    /// From the environment.
    pub(crate) fn from_env() -> Self {
        Self::from(&|name| env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn from(variable: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &str| variable(name).and_then(|value| value.into_string().ok());
        let user = variable("HOME").map(PathBuf::from).unwrap_or_default();
        let path = |name: &str| variable(name).map(|value| below_home(PathBuf::from(value), &user));
        let caches = path("XDG_CACHE_HOME").unwrap_or_else(|| user.join(".cache"));
        let home = path("HF_HOME").unwrap_or_else(|| caches.join("huggingface"));
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let named = text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN"));
        let token_file = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
        Self {
            cache: path("HF_HUB_CACHE").unwrap_or_else(|| home.join("hub")),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            offline: text("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value)),
            certificates: path("SSL_CERT_FILE").or_else(|| path("REQUESTS_CA_BUNDLE")),
            token: named.or_else(|| fs_err::read_to_string(token_file).ok()).as_deref().and_then(Token::new),
        }
    }
}

/// As `constants.py`'s `ENV_VARS_TRUE_VALUES`.
fn is_true(text: &str) -> bool {
    ["1", "on", "yes", "true"].contains(&text.to_lowercase().as_str())
}

/// `~/x` below the home directory.
fn below_home(path: PathBuf, home: &Path) -> PathBuf {
    path.strip_prefix("~").map(|rest| home.join(rest)).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        Settings::from(&find)
    }

    #[test]
    fn the_cache_is_where_huggingface_hub_has_it() {
        assert_eq!(settings(&[("HOME", "/u")]).cache, Path::new("/u/.cache/huggingface/hub"));
        assert_eq!(settings(&[("HOME", "/u"), ("XDG_CACHE_HOME", "/c")]).cache, Path::new("/c/huggingface/hub"));
        assert_eq!(settings(&[("HOME", "/u"), ("HF_HOME", "~/hf")]).cache, Path::new("/u/hf/hub"));
        assert_eq!(settings(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/hub")]).cache, Path::new("/hub"));
    }

    #[test]
    fn server_and_offline_follow_their_variables() {
        let plain = settings(&[]);
        assert_eq!((plain.endpoint.as_str(), plain.offline), ("https://huggingface.co", false));
        let other = settings(&[("HF_ENDPOINT", "https://mirror.example/"), ("HF_HUB_OFFLINE", "True")]);
        assert_eq!((other.endpoint.as_str(), other.offline), ("https://mirror.example", true));
        assert!(!settings(&[("HF_HUB_OFFLINE", "0")]).offline);
    }

    #[test]
    fn a_token_comes_from_its_variable_or_its_file_and_is_never_shown() {
        let home = tempfile::tempdir().expect("a directory");
        fs_err::write(home.path().join("token"), "hf_from_file\n").expect("written");
        let home = home.path().to_str().expect("UTF-8");
        let in_file = settings(&[("HF_HOME", home)]);
        assert_eq!(in_file.token, Some(Token("hf_from_file".to_owned())));
        assert_eq!(settings(&[("HF_HOME", home), ("HF_TOKEN", " hf_x ")]).token, Some(Token("hf_x".to_owned())));
        assert_eq!(settings(&[("HF_TOKEN", "a\r\nb: c")]).token, None);
        assert!(!format!("{in_file:?}").contains("hf_from_file"));
    }
}
