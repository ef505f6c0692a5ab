//! A client that does nothing by itself: one call, one request; and a poll until the end.
//!
//! It refuses to retry: what the double does to a request has to be seen.

use std::time::{Duration, Instant};

use lakeward_tests::double::{Double, TOKEN, WAREHOUSE};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn state(&self) -> &str {
        self.body["status"]["state"].as_str().unwrap_or("no state")
    }

    pub fn id(&self) -> String {
        self.body["statement_id"].as_str().expect("a statement's id").to_owned()
    }

    /// The first class in brackets of the message, where the service puts it.
    pub fn class(&self) -> String {
        let message = self.body["status"]["error"]["message"].as_str().unwrap_or_default();
        let inside = message.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        inside.map(|(class, _)| class.to_owned()).unwrap_or_default()
    }

    pub fn sqlstate(&self) -> &str {
        self.body["status"]["sql_state"].as_str().unwrap_or_default()
    }

    /// First row of the first chunk, as numbers by column.
    pub fn counter(&self, name: &str) -> u64 {
        let columns = self.body["manifest"]["schema"]["columns"].as_array().expect("columns");
        let at = columns
            .iter()
            .position(|column| column["name"] == name)
            .expect("a column of this name");
        self.body["result"]["data_array"][0][at]
            .as_str()
            .expect("text")
            .parse()
            .expect("a number")
    }
}

/// The raw client of one double.
pub struct Client {
    url: String,
    http: reqwest::Client,
    token: Option<String>,
}

impl Client {
    pub fn of(double: &Double) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self {
            url: double.url().into(),
            http,
            token: Some(TOKEN.into()),
        }
    }

    pub fn with_token(double: &Double, token: Option<&str>) -> Self {
        Self {
            token: token.map(str::to_owned),
            ..Self::of(double)
        }
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, reqwest::Error> {
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}{path}", self.url)
        };
        let mut request = self.http.request(method, url).body(body);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let bytes = answer.bytes().await?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Answer { status, headers, body })
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Vec::new()).await.expect("an answer")
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, &[], body.to_string().into())
            .await
            .expect("an answer")
    }

    /// POST of a statement with more fields.
    pub async fn try_submit(&self, sql: &str, fields: &Value) -> Result<Answer, reqwest::Error> {
        let mut body = json!({"statement": sql, "warehouse_id": WAREHOUSE});
        for (key, value) in fields.as_object().expect("fields") {
            body[key] = value.clone();
        }
        self.send(Method::POST, "/api/2.0/sql/statements", &[], body.to_string().into())
            .await
    }

    pub async fn submit(&self, sql: &str, fields: &Value) -> Answer {
        self.try_submit(sql, fields).await.expect("an answer")
    }

    pub async fn poll(&self, id: &str) -> Answer {
        self.get(&format!("/api/2.0/sql/statements/{id}")).await
    }

    /// Polls until nothing changes any more.
    pub async fn finish(&self, id: &str) -> Answer {
        let deadline = Instant::now() + Duration::from_mins(2);
        loop {
            let answer = self.poll(id).await;
            if !["PENDING", "RUNNING"].contains(&answer.state()) {
                return answer;
            }
            assert!(Instant::now() < deadline, "the statement does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Submits and polls to the end.
    pub async fn run(&self, sql: &str) -> Answer {
        self.run_with(sql, &json!({})).await
    }

    pub async fn run_with(&self, sql: &str, fields: &Value) -> Answer {
        let mut fields = fields.clone();
        fields["wait_timeout"] = json!("0s");
        let submitted = self.submit(sql, &fields).await;
        assert_eq!(submitted.status, 200, "{:?}", submitted.body);
        self.finish(&submitted.id()).await
    }

    /// The same, and it has to succeed.
    pub async fn good(&self, sql: &str) -> Answer {
        let answer = self.run(sql).await;
        assert_eq!(answer.state(), "SUCCEEDED", "{sql}: {}", answer.body);
        answer
    }

    /// The same, and it has to fail in this class with this SQLSTATE.
    pub async fn bad(&self, sql: &str, class: &str, sqlstate: &str) -> Answer {
        let answer = self.run(sql).await;
        assert_eq!(answer.status, 200, "{sql}");
        assert_eq!(
            (answer.state(), answer.class().as_str()),
            ("FAILED", class),
            "{sql}: {}",
            answer.body
        );
        assert_eq!(answer.sqlstate(), sqlstate, "{sql}");
        answer
    }
}
