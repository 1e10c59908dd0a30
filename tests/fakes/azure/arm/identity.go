package main

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

type claims struct {
	Audience string `json:"aud"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	ID       string `json:"jti"`
}

var base64url = base64.RawURLEncoding

// makeToken is a token for a resource: claims, and who made them. What is in it is nobody's business but ours.
func (s *Site) makeToken(audience string) (string, int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	seconds := s.config.TokenSeconds
	text, _ := json.Marshal(claims{Audience: audience, Issued: time.Now().UnixNano(), Expires: time.Now().Unix() + int64(seconds), ID: makeUUID()})
	body := base64url.EncodeToString(text)
	return "simulated." + body + "." + s.sign(body), seconds
}

func (s *Site) sign(body string) string {
	mac := hmac.New(sha256.New, s.signing)
	mac.Write([]byte(body))
	return base64url.EncodeToString(mac.Sum(nil))
}

// authorized says why a request is not.
func (s *Site) authorized(r *http.Request, audience string) *Failure {
	header := r.Header.Get("Authorization")
	if header == "" {
		return fail(http.StatusUnauthorized, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
	}
	parts := strings.Split(strings.TrimPrefix(header, "Bearer "), ".")
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if len(parts) != 3 || s.sign(parts[1]) != parts[2] {
		return fail(http.StatusUnauthorized, "InvalidAuthenticationToken", "The access token is invalid.")
	}
	text, _ := base64url.DecodeString(parts[1])
	var token claims
	_ = json.Unmarshal(text, &token)
	if strings.TrimSuffix(token.Audience, "/") != strings.TrimSuffix(audience, "/") {
		return fail(http.StatusUnauthorized, "InvalidAuthenticationTokenAudience",
			"The access token has been obtained for wrong audience or resource '%s'. It should exactly match with one of the allowed audiences '%s'.",
			token.Audience, audience)
	}
	if token.Expires <= time.Now().Unix() || token.Issued < s.notBefore.UnixNano() {
		return fail(http.StatusUnauthorized, "ExpiredAuthenticationToken", "The access token expiry UTC time '%s' is earlier than current UTC time '%s'.",
			time.Unix(token.Expires, 0).UTC().Format(time.RFC3339), time.Now().UTC().Format(time.RFC3339))
	}
	return nil
}

const (
	openidSuffix = "/.well-known/openid-configuration"
	adfsToken    = "/adfs/oauth2/token"
)

// identity answers what needs no token: where tokens are had, and they themselves. False: it is about something else.
func (f *Front) identity(w http.ResponseWriter, r *http.Request) bool {
	path := r.URL.Path
	parts := strings.Split(strings.Trim(path, "/"), "/")
	config := &f.site.config
	switch {
	case len(parts) == 4 && strings.HasSuffix(path, "/oauth2/v2.0/token"):
		f.tokenEndpoint(w, r, parts[0])
	case path == adfsToken:
		f.tokenEndpoint(w, r, config.Tenant)
	case path == "/adfs"+openidSuffix:
		f.openid(w, f.URL()+"/adfs", f.URL()+"/adfs/oauth2/authorize", f.URL()+adfsToken)
	case path == "/"+config.Tenant+"/v2.0"+openidSuffix:
		tenant := f.URL() + "/" + config.Tenant
		f.openid(w, tenant+"/v2.0", tenant+"/oauth2/v2.0/authorize", tenant+"/oauth2/v2.0/token")
	default:
		return false
	}
	return true
}

func (f *Front) openid(w http.ResponseWriter, issuer string, authorize string, token string) {
	f.reply(w, http.StatusOK, Object{"issuer": issuer, "authorization_endpoint": authorize, "token_endpoint": token,
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt"}, "response_types_supported": []string{"code"},
		"subject_types_supported": []string{"pairwise"}, "id_token_signing_alg_values_supported": []string{"RS256"}})
}

// tokenEndpoint is that of v2.0, and that of AD FS: client_credentials, with a secret or an assertion.
func (f *Front) tokenEndpoint(w http.ResponseWriter, r *http.Request, tenant string) {
	refuse := func(status int, code string, number int, text string) {
		f.reply(w, status, Object{"error": code, "error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s", number, text, makeUUID()),
			"error_codes": []int{number}, "timestamp": time.Now().UTC().Format("2006-01-02 15:04:05Z"), "trace_id": makeUUID(),
			"correlation_id": makeUUID()})
	}
	config := &f.site.config
	if err := r.ParseForm(); err != nil || r.Method != http.MethodPost {
		refuse(http.StatusBadRequest, "invalid_request", 900144, "The request body must contain the following parameter: 'grant_type'.")
		return
	}
	switch {
	case tenant != config.Tenant:
		refuse(http.StatusBadRequest, "invalid_request", 90002, "Tenant '"+tenant+"' not found.")
		return
	case r.PostForm.Get("grant_type") != "client_credentials":
		refuse(http.StatusBadRequest, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
		return
	case r.PostForm.Get("client_id") != config.Client:
		refuse(http.StatusBadRequest, "unauthorized_client", 700016, "Application with identifier '"+r.PostForm.Get("client_id")+"' was not found in the directory.")
		return
	case !strings.HasSuffix(r.PostForm.Get("scope"), "/.default"):
		refuse(http.StatusBadRequest, "invalid_scope", 1002012, "The provided value for scope is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier.")
		return
	}
	if assertion := r.PostForm.Get("client_assertion"); assertion != "" {
		if err := f.checkAssertion(assertion, f.URL()+"/"+tenant+"/oauth2/v2.0/token"); err != nil ||
			r.PostForm.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
			refuse(http.StatusUnauthorized, "invalid_client", 700027, fmt.Sprintf("The certificate with identifier used to sign the client assertion is not registered on application, or: %v.", err))
			return
		}
	} else if r.PostForm.Get("client_secret") != config.Secret {
		refuse(http.StatusUnauthorized, "invalid_client", 7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID.")
		return
	}
	token, seconds := f.site.makeToken(strings.TrimSuffix(r.PostForm.Get("scope"), "/.default"))
	f.reply(w, http.StatusOK, Object{"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token})
}

// checkAssertion reads a JWT that is signed by the application's certificate: PS256, x5t#S256.
func (f *Front) checkAssertion(assertion string, audience string) error {
	text, err := os.ReadFile(f.site.config.CertificateFile)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return errors.New("no certificate")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return errors.New("three parts")
	}
	var header struct {
		Alg        string `json:"alg"`
		Typ        string `json:"typ"`
		Thumbprint string `json:"x5t#S256"`
	}
	var body struct {
		Audience string `json:"aud"`
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		ID       string `json:"jti"`
		Begin    int64  `json:"nbf"`
		End      int64  `json:"exp"`
	}
	for i, into := range []any{&header, &body} {
		raw, err := base64url.DecodeString(parts[i])
		if err != nil {
			return err
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return err
		}
	}
	sum := sha256.Sum256(block.Bytes)
	if header.Alg != "PS256" || header.Typ != "JWT" || header.Thumbprint != base64url.EncodeToString(sum[:]) {
		return errors.New("the header names another certificate or algorithm")
	}
	current := time.Now().Unix()
	if body.Audience != audience || body.Issuer != f.site.config.Client || body.Subject != body.Issuer || body.ID == "" ||
		body.Begin > current+300 || body.End < current || body.End > current+3600 {
		return errors.New("the claims are for another time or place")
	}
	key, isRSA := certificate.PublicKey.(*rsa.PublicKey)
	if !isRSA {
		return errors.New("not RSA")
	}
	signature, err := base64url.DecodeString(parts[2])
	if err != nil {
		return err
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	return rsa.VerifyPSS(key, crypto.SHA256, digest[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
}

// metadata is the instance metadata service's form of a token.
func (f *Front) metadata(w http.ResponseWriter, r *http.Request) {
	f.count("GET metadata")
	if rule := f.take(r.Method, r.URL.Path); rule != nil && rule.Status != 0 {
		http.Error(w, "", rule.Status)
		return
	}
	query := r.URL.Query()
	client := query.Get("client_id")
	switch {
	case r.URL.Path != "/metadata/identity/oauth2/token":
		http.NotFound(w, r)
	case r.Header.Get("Metadata") != "true":
		f.reply(w, http.StatusBadRequest, Object{"error": "invalid_request", "error_description": "Required metadata header not specified"})
	case query.Get("api-version") < "2018-02-01" || query.Get("resource") == "":
		f.reply(w, http.StatusBadRequest, Object{"error": "invalid_request", "error_description": "Required query variable 'resource' or 'api-version' is missing"})
	case client != "" && client != f.site.config.Client:
		f.reply(w, http.StatusBadRequest, Object{"error": "invalid_request", "error_description": "Identity not found"})
	default:
		token, seconds := f.site.makeToken(query.Get("resource"))
		end := strconv.FormatInt(time.Now().Unix()+int64(seconds), 10)
		f.reply(w, http.StatusOK, Object{"access_token": token, "client_id": f.site.config.Client, "expires_in": strconv.Itoa(seconds),
			"expires_on": end, "ext_expires_in": strconv.Itoa(seconds), "not_before": strconv.FormatInt(time.Now().Unix(), 10),
			"resource": query.Get("resource"), "token_type": "Bearer"})
	}
}
