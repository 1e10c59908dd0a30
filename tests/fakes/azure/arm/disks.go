package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

const (
	footerBytes = 512
	mib         = 1 << 20
	gapBytes    = mib / 4 // so much that nobody wrote is read along
)

func (f *Front) disk(w http.ResponseWriter, q *Request) *Failure {
	s := f.site
	disk := s.find(q.id.String())
	action := ""
	if len(q.id.Rest) > 0 {
		action = q.id.Rest[0]
	}
	if disk == nil && !(q.http.Method == http.MethodPut && action == "") {
		if q.http.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		return notFound(q.id)
	}
	switch q.http.Method + " " + strings.ToLower(action) {
	case "GET ":
		s.mutex.Lock()
		out := s.render(disk)
		s.mutex.Unlock()
		f.reply(w, http.StatusOK, out)
	case "PUT ":
		return f.putDisk(w, q, disk)
	case "DELETE ":
		var failure *Failure
		s.change(func() {
			if disk.Owner != "" {
				failure = fail(http.StatusConflict, "OperationNotAllowed", "Disk %s is attached to VM %s.", disk.ID.Name, disk.Owner)
			} else if disk.Access != "" {
				failure = fail(http.StatusConflict, "OperationNotAllowed", "Disk %s has an active SAS: revoke access first.", disk.ID.Name)
			} else {
				disk.State = "Deleting"
			}
		})
		if failure != nil {
			return failure
		}
		f.accepted(w, s.begin("disk.delete", disk, q))
	case "POST begingetaccess":
		s.mutex.Lock()
		owner := s.resources[keyOf(disk.Owner)]
		running := owner != nil && owner.Power != "deallocated"
		s.mutex.Unlock()
		if running {
			return fail(http.StatusConflict, "Conflict", "Access not permitted because disk %s is currently attached to running VM %s.", disk.ID.Name, disk.Owner)
		}
		if textAt(q.body, "access") == "" || numberAt(q.body, "durationInSeconds") <= 0 {
			return invalid("grantAccessData", "Required parameter 'access' or 'durationInSeconds' is missing (null).")
		}
		q.argument = f.URL()
		f.accepted(w, s.begin("disk.beginGetAccess", disk, q))
	case "POST endgetaccess":
		f.accepted(w, s.begin("disk.endGetAccess", disk, q))
	default:
		return fail(http.StatusNotFound, "InvalidResourceType", "There is no '%s' of a disk.", action)
	}
	return nil
}

func (f *Front) putDisk(w http.ResponseWriter, q *Request, disk *Resource) *Failure {
	s := f.site
	properties := objectAt(q.body, "properties")
	creation := objectAt(properties, "creationData")
	switch {
	case !strings.EqualFold(textAt(q.body, "location"), s.config.Region):
		return fail(http.StatusBadRequest, "LocationNotAvailableForResourceType", "The provided location '%s' is not available for resource type 'Microsoft.Compute/disks'.",
			textAt(q.body, "location"))
	case !strings.EqualFold(textAt(creation, "createOption"), "Import"):
		return invalid("disk.creationData.createOption", "This simulation makes disks of blobs only: 'Import'.")
	case textAt(creation, "sourceUri") == "":
		return invalid("disk.creationData.sourceUri", "Required parameter 'disk.creationData.sourceUri' is missing (null).")
	}
	if disk != nil {
		if textAt(disk.Properties, "creationData", "sourceUri") != textAt(creation, "sourceUri") {
			failure := fail(http.StatusConflict, "PropertyChangeNotAllowed", "Changing property 'creationData' is not allowed.")
			failure.Target = "disk.creationData"
			return failure
		}
		s.change(func() {
			disk.Tags = objectAt(q.body, "tags")
			if disk.State == "Failed" {
				disk.State = "Creating"
			}
		})
		f.put(w, disk, s.begin("disk.put", disk, q), false)
		return nil
	}
	bytes, failure := s.blobs.check(textAt(creation, "sourceUri"))
	if failure != nil {
		return failure
	}
	s.change(func() {
		sku := objectAt(q.body, "sku")
		if sku == nil {
			sku = Object{"name": "Standard_LRS"}
		}
		disk = &Resource{ID: q.id, UUID: makeUUID(), State: "Creating", Made: now(), Location: s.config.Region, Tags: objectAt(q.body, "tags"),
			Sku: sku, Properties: properties, Bytes: bytes}
		disk.File = filepath.Join(s.flags.State, "disks", disk.UUID+".img")
		s.resources[q.id.key()] = disk
	})
	f.put(w, disk, s.begin("disk.put", disk, q), true)
	return nil
}

func (s *Site) renderDisk(r *Resource, out Object, properties Object) {
	state := "Unattached"
	if owner := s.resources[keyOf(r.Owner)]; owner != nil {
		out["managedBy"] = r.Owner
		state = "Attached"
		if owner.Power == "deallocated" {
			state = "Reserved"
		}
	}
	if r.Access != "" {
		state = "ActiveSAS"
	}
	properties["diskState"] = state
	properties["timeCreated"] = r.Made
	properties["uniqueId"] = r.UUID
	properties["diskSizeBytes"] = r.Bytes
	properties["diskSizeGB"] = (r.Bytes + (1 << 30) - 1) >> 30
}

// importDisk reads the whole blob to the disk's file.
func (s *Site) importDisk(disk *Resource) *Failure {
	s.mutex.Lock()
	source, file, made := textAt(disk.Properties, "creationData", "sourceUri"), disk.File, disk.State != "Creating"
	s.mutex.Unlock()
	if made {
		return nil
	}
	if err := s.blobs.download(source, file, disk.Bytes); err != nil {
		return fail(0, "InternalServerError", "An internal execution error occurred while %s was read: %v", source, err)
	}
	return nil
}

func (s *Site) deleteDisk(disk *Resource) *Failure {
	var failure *Failure
	s.change(func() {
		if disk.Owner != "" {
			disk.State = "Succeeded"
			failure = fail(0, "OperationNotAllowed", "Disk %s is attached to VM %s.", disk.ID.Name, disk.Owner)
			return
		}
		_ = os.Remove(disk.File)
		delete(s.resources, disk.ID.key())
	})
	return failure
}

func (s *Site) grant(disk *Resource, o *Operation) *Failure {
	s.change(func() {
		if disk.Access == "" {
			disk.Access = makeUUID()
		}
		o.Output = Object{"accessSAS": fmt.Sprintf("%s/_access/%s/abcd?sv=2018-03-28&sr=b&sig=simulated", o.Argument, disk.Access)}
	})
	return nil
}

// serveContent is a disk's, as the fixed VHD that Azure gives.
func (f *Front) serveContent(w http.ResponseWriter, r *http.Request) {
	secret := strings.Split(strings.TrimPrefix(r.URL.Path, "/_access/"), "/")[0]
	for _, disk := range f.site.list("disks", "") {
		f.site.mutex.Lock()
		matches, file, bytes := disk.Access != "" && disk.Access == secret, disk.File, disk.Bytes
		f.site.mutex.Unlock()
		if !matches {
			continue
		}
		open, err := os.Open(file)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer open.Close()
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, &vhd{disk: open, bytes: bytes, footer: makeFooter(bytes)})
		return
	}
	http.Error(w, "AuthenticationFailed", http.StatusForbidden)
}

// vhd is a disk's file with a footer behind it.
type vhd struct {
	disk   *os.File
	bytes  int64
	footer []byte
	at     int64
}

func (v *vhd) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += v.at
	case io.SeekEnd:
		offset += v.bytes + footerBytes
	}
	v.at = offset
	return offset, nil
}

func (v *vhd) Read(into []byte) (int, error) {
	if v.at >= v.bytes+footerBytes {
		return 0, io.EOF
	}
	if v.at >= v.bytes {
		n := copy(into, v.footer[v.at-v.bytes:])
		v.at += int64(n)
		return n, nil
	}
	if int64(len(into)) > v.bytes-v.at {
		into = into[:v.bytes-v.at]
	}
	n, err := v.disk.ReadAt(into, v.at)
	v.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

// makeFooter is that of a fixed disk (Virtual Hard Disk Image Format Specification, 1.0).
func makeFooter(bytes int64) []byte {
	footer := make([]byte, footerBytes)
	copy(footer, "conectix")
	binary.BigEndian.PutUint32(footer[8:], 2)
	binary.BigEndian.PutUint32(footer[12:], 0x10000)
	binary.BigEndian.PutUint64(footer[16:], ^uint64(0))
	copy(footer[28:], "sim ")
	binary.BigEndian.PutUint64(footer[40:], uint64(bytes))
	binary.BigEndian.PutUint64(footer[48:], uint64(bytes))
	binary.BigEndian.PutUint32(footer[60:], 2)
	binary.BigEndian.PutUint32(footer[64:], checksum(footer))
	return footer
}

func checksum(footer []byte) uint32 {
	var sum uint32
	for i, b := range footer {
		if i < 64 || i >= 68 {
			sum += uint32(b)
		}
	}
	return ^sum
}

// Blobs are read for imports.
type Blobs struct {
	flags  Flags
	pool   *x509.CertPool
	client *http.Client
}

// trust is before the first request only.
func (b *Blobs) trust(certificates []byte) { b.pool.AppendCertsFromPEM(certificates) }

// NewBlobs trusts what the flags name, beside what this host trusts.
func NewBlobs(flags Flags) (*Blobs, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if flags.StorageCA != "" {
		text, err := os.ReadFile(flags.StorageCA)
		if err != nil {
			return nil, err
		}
		pool.AppendCertsFromPEM(text)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableCompression: true}
	return &Blobs{flags: flags, pool: pool, client: &http.Client{Transport: transport}}, nil
}

// get reads the bytes from first to last; all of them where last is negative.
func (b *Blobs) get(source string, method string, first int64, last int64) (*http.Response, error) {
	address, err := url.Parse(source)
	if err != nil {
		return nil, err
	}
	if b.flags.StorageSas != "" {
		query := strings.TrimPrefix(b.flags.StorageSas, "?")
		if address.RawQuery != "" {
			query = address.RawQuery + "&" + query
		}
		address.RawQuery = query
	}
	request, err := http.NewRequest(method, address.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("x-ms-version", "2021-12-02")
	request.Header.Set("x-ms-date", time.Now().UTC().Format(http.TimeFormat))
	if last >= 0 {
		request.Header.Set("x-ms-range", fmt.Sprintf("bytes=%d-%d", first, last))
	}
	if b.flags.StorageKey != "" {
		if err := b.signRequest(request, address); err != nil {
			return nil, err
		}
	}
	return b.client.Do(request)
}

// signRequest is "Authorize with Shared Key" of the storage services' reference.
func (b *Blobs) signRequest(request *http.Request, address *url.URL) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(b.flags.StorageKey))
	if err != nil {
		return err
	}
	account := b.flags.StorageAccount
	if account == "" {
		account = strings.Split(address.Hostname(), ".")[0]
	}
	var names []string
	for name := range request.Header {
		if strings.HasPrefix(strings.ToLower(name), "x-ms-") {
			names = append(names, strings.ToLower(name))
		}
	}
	sort.Strings(names)
	text := request.Method + strings.Repeat("\n", 12)
	for _, name := range names {
		text += name + ":" + request.Header.Get(name) + "\n"
	}
	text += "/" + account + address.EscapedPath()
	query := address.Query()
	names = nil
	for name := range query {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		text += "\n" + strings.ToLower(name) + ":" + strings.Join(query[name], ",")
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	request.Header.Set("Authorization", "SharedKey "+account+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return nil
}

// check looks whether the blob can be imported, and returns the size of its disk.
func (b *Blobs) check(source string) (int64, *Failure) {
	refused := fail(http.StatusBadRequest, "BadRequest", "Only blobs formatted as VHDs can be imported.")
	head, err := b.get(source, http.MethodHead, 0, -1)
	if err != nil {
		return 0, fail(http.StatusBadRequest, "BadRequest", "Source blob %s cannot be reached: %v", source, err)
	}
	_ = head.Body.Close()
	switch head.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return 0, fail(http.StatusBadRequest, "BadRequest", "Source blob %s does not exist.", source)
	default:
		return 0, fail(http.StatusBadRequest, "BadRequest", "Source blob %s cannot be read: HTTP %d.", source, head.StatusCode)
	}
	if kind := head.Header.Get("x-ms-blob-type"); kind != "" && kind != "PageBlob" {
		return 0, refused
	}
	length, _ := strconv.ParseInt(head.Header.Get("Content-Length"), 10, 64)
	bytes := length - footerBytes
	if bytes < mib || bytes%mib != 0 {
		return 0, refused
	}
	reply, err := b.get(source, http.MethodGet, bytes, length-1)
	if err != nil {
		return 0, fail(http.StatusBadRequest, "BadRequest", "Source blob %s cannot be read: %v", source, err)
	}
	defer reply.Body.Close()
	footer, err := io.ReadAll(io.LimitReader(reply.Body, length))
	if err != nil || len(footer) < footerBytes {
		return 0, refused
	}
	footer = footer[len(footer)-footerBytes:]
	if string(footer[:8]) != "conectix" || binary.BigEndian.Uint32(footer[60:]) != 2 || binary.BigEndian.Uint32(footer[64:]) != checksum(footer) ||
		int64(binary.BigEndian.Uint64(footer[48:])) != bytes {
		return 0, refused
	}
	return bytes, nil
}

// download writes the disk, without the footer, with holes where it is zero. It reads only what the blob has: Azure's own copies do
// not take from the account what its clients need, and here all share two cores.
func (b *Blobs) download(source string, path string, size int64) error {
	ranges, err := b.ranges(source, size)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	for _, one := range ranges {
		if err := b.copyRange(source, one, file); err != nil {
			return err
		}
	}
	if err := file.Truncate(size); err != nil {
		return err
	}
	return file.Sync()
}

// PageRange is inclusive, as the storage services count.
type PageRange struct {
	Start int64
	End   int64
}

// ranges are those before the footer, in order; what is near each other is one.
func (b *Blobs) ranges(source string, size int64) ([]PageRange, error) {
	address, err := url.Parse(source)
	if err != nil {
		return nil, err
	}
	query := address.Query()
	query.Set("comp", "pagelist")
	address.RawQuery = query.Encode()
	reply, err := b.get(address.String(), http.MethodGet, 0, size-1)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP %d", reply.StatusCode)
	}
	var list struct {
		PageRange  []PageRange
		NextMarker string
	}
	if err := xml.NewDecoder(reply.Body).Decode(&list); err != nil {
		return nil, err
	}
	if list.NextMarker != "" {
		return nil, fmt.Errorf("the list of pages came in parts, which were not asked for")
	}
	var merged []PageRange
	for _, one := range list.PageRange {
		if one.Start >= size {
			break
		}
		one.End = lesser(one.End, size-1)
		if last := len(merged) - 1; last >= 0 && one.Start-merged[last].End <= gapBytes {
			merged[last].End = one.End
		} else {
			merged = append(merged, one)
		}
	}
	return merged, nil
}

func lesser(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}

func (b *Blobs) copyRange(source string, what PageRange, file *os.File) error {
	reply, err := b.get(source, http.MethodGet, what.Start, what.End)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusPartialContent && reply.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP %d", reply.StatusCode)
	}
	block, zero := make([]byte, 64<<10), make([]byte, 64<<10)
	for offset := what.Start; offset <= what.End; {
		part := block[:lesser(int64(len(block)), what.End+1-offset)]
		if _, err := io.ReadFull(reply.Body, part); err != nil {
			return err
		}
		if !bytes.Equal(part, zero[:len(part)]) {
			if _, err := file.WriteAt(part, offset); err != nil {
				return err
			}
		}
		offset += int64(len(part))
	}
	return nil
}
