package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

const sdkPath = "/sdk"

// recentTasksMax is how many tasks a VM tells of.
const recentTasksMax = 5

// Front is what clients connect to. It lets the library answer, and changes what a real vCenter answers otherwise.
type Front struct {
	site     *Site
	inner    http.Handler
	accounts []Account
	address  string
	listener net.Listener
	server   *http.Server
	cert     tls.Certificate
	changes  atomic.Int64 // of VMs' configurations, counted

	mutex    sync.Mutex
	sessions map[string]Account // by cookie
	faults   []*Rule
	pages    map[string][]types.ObjectContent // what RetrievePropertiesEx has still to give, by token
	calls    map[string]int
	nextPage int
}

// Rule is one fault on demand.
type Rule struct {
	Method string `json:"method"`
	Entity string `json:"entity"` // name of the VM; empty: any
	// A fault's type, such as InvalidState or TaskInProgress; or what happens to the connection: drop_request (nothing was
	// done), drop_reply (it was done, nobody hears of it); or http_503.
	Fault string `json:"fault"`
	// A call, or the task it begins, takes so long.
	DelayMS int `json:"delay_ms"`
	Count   int `json:"count"` // 0: always
	Skip    int `json:"skip"`  // calls before the first
}

// NewFront listens at `address`.
func NewFront(site *Site, accounts []Account, address string) (*Front, error) {
	f := &Front{site: site, accounts: accounts, sessions: map[string]Account{}, pages: map[string][]types.ObjectContent{},
		calls: map[string]int{}}
	site.service.RegisterSDK(simulator.Map)
	site.service.Listen = &url.URL{} // any name and password: accounts are the front's
	site.service.ServeMux.HandleFunc(sdkPath+"/vimServiceVersions.xml", site.service.ServiceVersions)
	site.service.ServeMux.HandleFunc("/folder/", site.service.ServeDatastore)
	f.inner = site.service.ServeMux
	cert, err := makeCertificate()
	if err != nil {
		return nil, err
	}
	f.cert = cert
	if err := f.listen(address); err != nil {
		return nil, err
	}
	f.address = f.listener.Addr().String()
	return f, nil
}

// Address is host and port.
func (f *Front) Address() string { return f.address }

// Thumbprint is the certificate's SHA-256, as colon-separated bytes.
func (f *Front) Thumbprint() string {
	sum := sha256.Sum256(f.cert.Certificate[0])
	return strings.ReplaceAll(strings.ToUpper(fmt.Sprintf("% x", sum[:])), " ", ":")
}

func (f *Front) listen(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	f.listener = listener
	f.server = &http.Server{Handler: f, TLSConfig: &tls.Config{Certificates: []tls.Certificate{f.cert}},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}} // HTTP/1.1, whose connections can be dropped
	go func(server *http.Server) { _ = server.ServeTLS(listener, "", "") }(f.server)
	return nil
}

func makeCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "vcenter.lab"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour * 365), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		DNSNames: []string{"localhost", "vcenter.lab"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(crand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/control":
		f.control(w, r)
	case r.URL.Path == "/redirect":
		http.Redirect(w, r, sdkPath, http.StatusTemporaryRedirect)
	case r.URL.Path == sdkPath && r.Method == http.MethodPost:
		f.sdk(w, r)
	default:
		f.inner.ServeHTTP(w, r)
	}
}

// control is for tests: faults, expired sessions, an outage, a snapshot.
func (f *Front) control(w http.ResponseWriter, r *http.Request) {
	var order struct {
		Fault          *Rule  `json:"fault"`
		ClearFaults    bool   `json:"clear_faults"`
		ExpireSessions bool   `json:"expire_sessions"`
		DownMS         int    `json:"down_ms"`
		Disconnect     string `json:"disconnect_host"`
		Connect        string `json:"connect_host"`
		Orphan         string `json:"orphan_deltas"`
		Rename         string `json:"rename_vm"`
		To             string `json:"to"`
	}
	err := json.NewDecoder(r.Body).Decode(&order)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mutex.Lock()
	if order.Fault != nil {
		f.faults = append(f.faults, order.Fault)
	}
	if order.ClearFaults {
		f.faults = nil
	}
	if order.ExpireSessions {
		f.endSessions()
	}
	reply, _ := json.Marshal(map[string]interface{}{"calls": f.calls})
	f.mutex.Unlock()
	for name, state := range map[string]types.HostSystemConnectionState{
		order.Disconnect: types.HostSystemConnectionStateNotResponding, order.Connect: types.HostSystemConnectionStateConnected} {
		for _, host := range simulator.Map.All("HostSystem") {
			if name != "" && host.Entity().Name == name {
				simulator.Map.Update(host, []types.PropertyChange{{Name: "runtime.connectionState", Val: state},
					{Name: "summary.runtime.connectionState", Val: state}})
			}
		}
	}
	if order.Orphan != "" {
		for _, entity := range simulator.Map.All("VirtualMachine") {
			vm := entity.(*simulator.VirtualMachine)
			if vm.Name == order.Orphan {
				simulator.Map.WithLock(vm, func() { err = f.site.disks.BeginDeltas(vm) })
			}
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	if order.Rename != "" {
		for _, vm := range simulator.Map.All("VirtualMachine") {
			if vm.Entity().Name == order.Rename {
				simulator.Map.Update(vm, []types.PropertyChange{{Name: "name", Val: order.To}, {Name: "config.name", Val: order.To}})
			}
		}
	}
	_, _ = w.Write(reply)
	if order.DownMS > 0 {
		go f.restart(time.Duration(order.DownMS) * time.Millisecond)
	}
}

// endSessions needs the mutex.
func (f *Front) endSessions() {
	f.sessions = map[string]Account{}
	f.pages = map[string][]types.ObjectContent{}
}

// restart is a vCenter that goes down and comes back.
func (f *Front) restart(down time.Duration) {
	time.Sleep(20 * time.Millisecond) // The order's own reply.
	f.GoDown()
	time.Sleep(down)
	f.ComeUp()
}

// GoDown ends every session and connection; hosts and VMs go on meanwhile.
func (f *Front) GoDown() {
	f.mutex.Lock()
	f.endSessions()
	f.mutex.Unlock()
	_ = f.server.Close()
}

// ComeUp listens again, at the address that was.
func (f *Front) ComeUp() {
	for attempt := 0; attempt < 100; attempt++ {
		if f.listen(f.address) == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (f *Front) sdk(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	method, err := simulator.UnmarshalBody(types.TypeFunc(), body)
	if err != nil {
		f.forward(w, r, body)
		return
	}
	rule := f.take(method)
	if rule != nil {
		switch {
		case rule.Fault == "drop_request":
			drop(w)
			return
		case rule.Fault == "http_503":
			http.Error(w, "Service Unavailable", http.StatusServiceUnavailable)
			return
		case rule.DelayMS > 0 && !strings.HasSuffix(method.Name, "_Task"):
			time.Sleep(time.Duration(rule.DelayMS) * time.Millisecond)
		}
	}
	if method.Name == "Login" {
		f.login(w, r, body, method.Body.(*types.Login))
		return
	}
	account, known := f.account(r)
	if !known && method.Name != "RetrieveServiceContent" {
		fault(w, "The session is not authenticated.", &types.NotAuthenticated{NoPermission: types.NoPermission{
			Object: method.This, PrivilegeId: "System.View"}})
		return
	}
	if account.ReadOnly && changes(method.Name) {
		fault(w, "Permission to perform this operation was denied.", &types.NoPermission{Object: method.This,
			PrivilegeId: "VirtualMachine.Config.AddExistingDisk"})
		return
	}
	answer := httptest.NewRecorder()
	switch {
	case method.Name == "HasPrivilegeOnEntities":
		reply(answer, privileges(method.Body.(*types.HasPrivilegeOnEntities), account))
	case method.Name == "ContinueRetrievePropertiesEx":
		f.nextOf(answer, method.Body.(*types.ContinueRetrievePropertiesEx).Token, 0)
	case method.Name == "RetrievePropertiesEx":
		f.retrieve(answer, r, body, method.Body.(*types.RetrievePropertiesEx), account)
	case strings.HasSuffix(method.Name, "_Task"):
		f.beginTask(answer, r, body, method, rule)
	case rule != nil && rule.Fault != "" && rule.Fault != "drop_reply":
		fault(answer, "", makeFault(rule.Fault))
	case method.Name == "ShutdownGuest" && f.site.hooks.OnPowerOff != "":
		f.shutDownGuest(answer, r, body, method)
	case method.Name == "UnregisterVM" || method.Name == "ShutdownGuest":
		if wrong := f.before(method); wrong != nil {
			fault(answer, "", wrong)
		} else {
			f.forward(answer, r, body)
			f.after(method, nil)
		}
	default:
		f.forward(answer, r, body)
	}
	if rule != nil && rule.Fault == "drop_reply" {
		drop(w)
		return
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// take counts the call and returns the rule that is for it.
func (f *Front) take(method *simulator.Method) *Rule {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.calls[method.Name]++
	for i, rule := range f.faults {
		if rule.Method != method.Name || (rule.Entity != "" && rule.Entity != nameOf(method.This)) {
			continue
		}
		if rule.Skip > 0 {
			rule.Skip--
			continue
		}
		if rule.Count == 1 {
			f.faults = append(f.faults[:i:i], f.faults[i+1:]...)
		} else if rule.Count > 1 {
			rule.Count--
		}
		return rule
	}
	return nil
}

func nameOf(reference types.ManagedObjectReference) string {
	if vm, ok := simulator.Map.Get(reference).(*simulator.VirtualMachine); ok {
		return vm.Name
	}
	return ""
}

func (f *Front) login(w http.ResponseWriter, r *http.Request, body []byte, login *types.Login) {
	for _, account := range f.accounts {
		if account.User != login.UserName || account.Password != login.Password {
			continue
		}
		r.Header.Del("Cookie") // One who logs in again gets another session.
		answer := httptest.NewRecorder()
		f.forward(answer, r, body)
		for _, cookie := range answer.Result().Cookies() {
			if cookie.Name == soap.SessionCookieName {
				f.mutex.Lock()
				f.sessions[cookie.Value] = account
				f.mutex.Unlock()
			}
		}
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
		return
	}
	fault(w, "Cannot complete login due to an incorrect user name or password.", &types.InvalidLogin{})
}

func (f *Front) account(r *http.Request) (Account, bool) {
	cookie, err := r.Cookie(soap.SessionCookieName)
	if err != nil {
		return Account{}, false
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	account, known := f.sessions[cookie.Value]
	return account, known
}

func (f *Front) forward(w http.ResponseWriter, r *http.Request, body []byte) {
	// The library ends a call when an object goes away while it is looked at, and forgets what it had to tell. A client must
	// begin anew then; told nothing, it would wait for what is over.
	defer func() {
		if recover() != nil {
			fault(w, "The collector's version is not known.", &types.InvalidCollectorVersion{})
		}
	}()
	inner := r.Clone(context.Background())
	inner.Body = io.NopCloser(bytes.NewReader(body))
	f.inner.ServeHTTP(w, inner)
}

var mayLook = regexp.MustCompile(`^(Retrieve|Continue|Cancel|WaitFor|Create(Filter|ContainerView|PropertyCollector)$|Destroy(View|PropertyFilter)|` +
	`Has|Find|Logout|CurrentTime|Query|SessionIsActive)`)

func changes(method string) bool { return !mayLook.MatchString(method) }

func privileges(asked *types.HasPrivilegeOnEntities, account Account) *types.HasPrivilegeOnEntitiesResponse {
	out := &types.HasPrivilegeOnEntitiesResponse{}
	for _, entity := range asked.Entity {
		one := types.EntityPrivilege{Entity: entity}
		for _, id := range asked.PrivId {
			granted := !account.ReadOnly || strings.HasPrefix(id, "System.")
			one.PrivAvailability = append(one.PrivAvailability, types.PrivilegeAvailability{PrivId: id, IsGranted: granted})
		}
		out.Returnval = append(out.Returnval, one)
	}
	return out
}

// retrieve gives pages, which the library does not, and no datastores to those who may only look.
func (f *Front) retrieve(w *httptest.ResponseRecorder, r *http.Request, body []byte, asked *types.RetrievePropertiesEx,
	account Account) {
	answer := httptest.NewRecorder()
	f.forward(answer, r, body)
	var envelope struct {
		Body struct {
			Response *types.RetrievePropertiesExResponse `xml:"RetrievePropertiesExResponse"`
		} `xml:"Body"`
	}
	decoder := xml.NewDecoder(bytes.NewReader(answer.Body.Bytes()))
	decoder.TypeFunc = types.TypeFunc()
	if answer.Code != http.StatusOK || decoder.Decode(&envelope) != nil || envelope.Body.Response == nil ||
		envelope.Body.Response.Returnval == nil {
		w.Code = answer.Code
		_, _ = w.Write(answer.Body.Bytes())
		return
	}
	objects := envelope.Body.Response.Returnval.Objects
	for i, object := range objects {
		objects[i].PropSet = shown(object)
		for _, property := range object.PropSet {
			switch value := property.Val.(type) {
			case types.ArrayOfVirtualDevice:
				f.site.disks.Mapped(value.VirtualDevice)
			case types.VirtualHardware:
				f.site.disks.Mapped(value.Device)
			case types.VirtualMachineConfigInfo:
				f.site.disks.Mapped(value.Hardware.Device)
			}
		}
	}
	if account.ReadOnly {
		kept := objects[:0]
		for _, object := range objects {
			if object.Obj.Type != "Datastore" {
				kept = append(kept, object)
			}
		}
		objects = kept
	}
	f.mutex.Lock()
	f.nextPage++
	token := fmt.Sprintf("page-%d", f.nextPage)
	f.pages[token] = objects
	f.mutex.Unlock()
	f.nextOf(w, token, int(asked.Options.MaxObjects))
}

// shown leaves out the parent of a VM in a vApp, which has none.
func shown(object types.ObjectContent) []types.DynamicProperty {
	vm, ok := simulator.Map.Get(object.Obj).(*simulator.VirtualMachine)
	if !ok || vm.ParentVApp == nil {
		return object.PropSet
	}
	var kept []types.DynamicProperty
	for _, property := range object.PropSet {
		if property.Name != "parent" {
			kept = append(kept, property)
		}
	}
	return kept
}

// nextOf answers with a page; `most` 0: as large as the last one.
func (f *Front) nextOf(w http.ResponseWriter, token string, most int) {
	f.mutex.Lock()
	rest, known := f.pages[token]
	delete(f.pages, token)
	f.mutex.Unlock()
	first := most != 0 || !strings.Contains(token, "/")
	if !known {
		fault(w, "", &types.InvalidProperty{Name: "token"})
		return
	}
	if !first {
		_, _ = fmt.Sscanf(token[strings.Index(token, "/")+1:], "%d", &most)
		token = token[:strings.Index(token, "/")]
	}
	page := types.RetrieveResult{Objects: rest}
	if most > 0 && len(rest) > most {
		page.Objects = rest[:most]
		page.Token = fmt.Sprintf("%s/%d", token, most)
		f.mutex.Lock()
		f.pages[page.Token] = rest[most:]
		f.mutex.Unlock()
	}
	if first {
		reply(w, &types.RetrievePropertiesExResponse{Returnval: &page})
	} else {
		reply(w, &types.ContinueRetrievePropertiesExResponse{Returnval: page})
	}
}

var taskReference = regexp.MustCompile(`<returnval type="Task">([^<]+)</returnval>`)

// beginTask runs what the method does in a task of its own that ends later, as a vCenter's do.
func (f *Front) beginTask(w http.ResponseWriter, r *http.Request, body []byte, method *simulator.Method, rule *Rule) {
	target := simulator.Map.Get(method.This)
	if target == nil {
		fault(w, "The object has already been deleted or has not been completely created", &types.ManagedObjectNotFound{
			Obj: method.This})
		return
	}
	task := simulator.CreateTask(target, strings.TrimSuffix(method.Name, "_Task")+"Task", nil)
	update := func(changes ...types.PropertyChange) {
		simulator.Map.WithLock(task, func() { simulator.Map.Update(task, changes) })
	}
	if vm, ok := target.(*simulator.VirtualMachine); ok {
		simulator.Map.WithLock(vm, func() {
			recent := append([]types.ManagedObjectReference{task.Self}, vm.RecentTask...)
			if len(recent) > recentTasksMax {
				recent = recent[:recentTasksMax]
			}
			simulator.Map.Update(vm, []types.PropertyChange{{Name: "recentTask", Val: recent}})
		})
	}
	request := r.Clone(context.Background())
	go func() {
		update(types.PropertyChange{Name: "info.startTime", Val: time.Now()},
			types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateRunning})
		if rule != nil && rule.DelayMS > 0 {
			for quarter := int32(1); quarter <= 4; quarter++ {
				time.Sleep(time.Duration(rule.DelayMS) * time.Millisecond / 4)
				update(types.PropertyChange{Name: "info.progress", Val: quarter * 24})
			}
		}
		result, wrong := f.perform(request, body, method, rule)
		done := []types.PropertyChange{{Name: "info.completeTime", Val: time.Now()}}
		if wrong != nil {
			done = append(done, types.PropertyChange{Name: "info.error", Val: types.LocalizedMethodFault{Fault: wrong,
				LocalizedMessage: sentence(wrong)}}, types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateError})
		} else {
			done = append(done, types.PropertyChange{Name: "info.result", Val: result},
				types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateSuccess})
		}
		update(done...)
	}()
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	fmt.Fprintf(w, `%s<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>`+
		`<%sResponse xmlns="urn:vim25"><returnval type="Task">%s</returnval></%sResponse></soapenv:Body></soapenv:Envelope>`,
		xml.Header, method.Name, task.Self.Value, method.Name)
}

func (f *Front) perform(r *http.Request, body []byte, method *simulator.Method, rule *Rule) (types.AnyType, types.BaseMethodFault) {
	if rule != nil && rule.Fault != "" && rule.Fault != "drop_reply" {
		return nil, makeFault(rule.Fault)
	}
	if vm, ok := simulator.Map.Get(method.This).(*simulator.VirtualMachine); ok && changesPower(method) {
		lock := f.site.hooks.lock(vm.Self)
		lock.Lock()
		defer lock.Unlock()
	}
	if wrong := f.before(method); wrong != nil {
		return nil, wrong
	}
	if wrong := f.changePower(method); wrong != nil {
		return nil, wrong
	}
	answer := httptest.NewRecorder()
	f.forward(answer, r, body)
	found := taskReference.FindSubmatch(answer.Body.Bytes())
	if found == nil {
		return nil, &types.NotSupported{}
	}
	inner := simulator.Map.Get(types.ManagedObjectReference{Type: "Task", Value: string(found[1])}).(*simulator.Task)
	if inner.Info.Error != nil {
		return nil, inner.Info.Error.Fault
	}
	if err := f.after(method, inner.Info.Result); err != nil {
		return nil, &types.GenericVmConfigFault{Reason: err.Error()}
	}
	return inner.Info.Result, nil
}

// shutDownGuest only asks: the VM is off when its guest has ended, and stays on when that does not end.
func (f *Front) shutDownGuest(w http.ResponseWriter, r *http.Request, body []byte, method *simulator.Method) {
	vm, ok := simulator.Map.Get(method.This).(*simulator.VirtualMachine)
	wrong := f.before(method)
	if !ok || wrong == nil && !isOn(vm) {
		f.forward(w, r, body) // which refuses it
		return
	}
	if wrong != nil {
		fault(w, "", wrong)
		return
	}
	go func() {
		lock := f.site.hooks.lock(vm.Self)
		lock.Lock()
		defer lock.Unlock()
		if !isOn(vm) || f.site.hooks.powerOff(vm, "guest") != nil {
			return
		}
		// As the site itself: whoever asked may have logged out.
		_, _ = methods.ShutdownGuest(context.Background(), f.site.client, method.Body.(*types.ShutdownGuest))
		_ = f.after(method, nil)
	}()
	reply(w, &types.ShutdownGuestResponse{})
}

func sentence(wrong types.BaseMethodFault) string {
	if generic, ok := wrong.(*types.GenericVmConfigFault); ok {
		return generic.Reason
	}
	return "The operation failed: " + strings.TrimPrefix(fmt.Sprintf("%T", wrong), "*types.")
}

func makeFault(name string) types.BaseMethodFault {
	kind, ok := types.TypeFunc()(name)
	if ok {
		if made, ok := reflect.New(kind).Interface().(types.BaseMethodFault); ok {
			return made
		}
	}
	return &types.SystemError{Reason: name}
}

func reply(w http.ResponseWriter, response interface{}) {
	write(w, http.StatusOK, struct {
		Response interface{}
	}{named{response}})
}

// named is encoded under its type's name in VMware's namespace.
type named struct{ value interface{} }

func (n named) MarshalXML(e *xml.Encoder, _ xml.StartElement) error {
	return e.EncodeElement(n.value, xml.StartElement{Name: xml.Name{Space: "urn:vim25",
		Local: reflect.TypeOf(n.value).Elem().Name()}})
}

func fault(w http.ResponseWriter, text string, detail types.BaseMethodFault) {
	type soapFault struct {
		XMLName xml.Name `xml:"soapenv:Fault"`
		Code    string   `xml:"faultcode"`
		String  string   `xml:"faultstring"`
		Detail  struct {
			Fault faultDetail
		} `xml:"detail"`
	}
	if text == "" {
		text = sentence(detail)
	}
	one := soapFault{Code: "ServerFaultCode", String: text}
	one.Detail.Fault = faultDetail{detail}
	write(w, http.StatusInternalServerError, struct{ Fault soapFault }{one})
}

type faultDetail struct{ value interface{} }

func (d faultDetail) MarshalXML(e *xml.Encoder, _ xml.StartElement) error {
	kind := reflect.TypeOf(d.value).Elem().Name()
	return e.EncodeElement(d.value, xml.StartElement{Name: xml.Name{Local: kind + "Fault"}, Attr: []xml.Attr{
		{Name: xml.Name{Local: "xmlns"}, Value: "urn:vim25"}, {Name: xml.Name{Local: "xsi:type"}, Value: kind}}})
}

func write(w http.ResponseWriter, code int, body interface{}) {
	type envelope struct {
		XMLName xml.Name    `xml:"soapenv:Envelope"`
		Env     string      `xml:"xmlns:soapenv,attr"`
		XSD     string      `xml:"xmlns:xsd,attr"`
		XSI     string      `xml:"xmlns:xsi,attr"`
		Body    interface{} `xml:"soapenv:Body"`
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, xml.Header)
	_ = xml.NewEncoder(w).Encode(&envelope{Env: "http://schemas.xmlsoap.org/soap/envelope/",
		XSD: "http://www.w3.org/2001/XMLSchema", XSI: "http://www.w3.org/2001/XMLSchema-instance", Body: body})
}

func drop(w http.ResponseWriter) {
	if hijacker, ok := w.(http.Hijacker); ok {
		if connection, _, err := hijacker.Hijack(); err == nil {
			_ = connection.Close()
		}
	}
}
