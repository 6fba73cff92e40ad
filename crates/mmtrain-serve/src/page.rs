//! The page: its files are in the program, and it loads nothing from elsewhere.

use hyper::Response;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue};

use crate::routes::{Payload, text};

/// Scripts and styles from files of this server only, nothing inside the page; pictures that the user has chosen.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; \
                      media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// A file of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum File {
    Html,
    Css,
    Js,
}

/// The file, as an answer.
pub(crate) fn response(file: File) -> Response<Payload> {
    let (content, kind) = match file {
        File::Html => (include_str!("page/index.html"), "text/html; charset=utf-8"),
        File::Css => (include_str!("page/app.css"), "text/css; charset=utf-8"),
        File::Js => (include_str!("page/app.js"), "text/javascript; charset=utf-8"),
    };
    let mut response = text(content, kind);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    response
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_comes_from_elsewhere_and_no_text_becomes_markup() {
        let files = [include_str!("page/index.html"), include_str!("page/app.css"), include_str!("page/app.js")];
        for file in files {
            let addresses = file.replace("http://www.w3.org/2000/svg", "");
            for word in
                ["http://", "https://", "//cdn", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"]
            {
                assert!(!addresses.contains(word), "{word}");
            }
            for word in ["eval(", "new Function", "localStorage", "sessionStorage", "document.cookie", "indexedDB"] {
                assert!(!file.contains(word), "{word}");
            }
        }
        let html = files[0];
        assert_eq!((html.matches("<script").count(), html.matches("<style").count()), (1, 0));
        assert!(!html.contains(" style=") && !html.contains(" onclick="), "the policy would refuse them");
    }
}
