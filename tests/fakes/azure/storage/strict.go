package main

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"hash/crc64"
	"net/http"
	"strconv"
	"strings"
)

const crc64Header = "x-ms-content-crc64"

// CRC-64/NVME, by its polynomial from the other end.
var crc64Table = crc64.MakeTable(0x9a6c9329ac4bc9b5)

// What Azure refuses and Azurite 3.35.0 takes: limits of Put Page and Put Blob, content that is not that of its checksum, and ranges that
// reach past the end.
const (
	pageBytes     = 512
	putBytesMax   = 4 << 20
	blobBytesMax  = int64(8) << 40
	rangesMaximum = 10000 // of one reply to Get Page Ranges
)

// Status 0: it may pass.
func (front *Front) check(request *http.Request, body []byte) (int, string, string) {
	if request.Method != http.MethodPut {
		return 0, "", ""
	}
	if request.Header.Get("x-ms-version") == "" && request.URL.Query().Get("sv") == "" {
		return http.StatusBadRequest, "MissingRequiredHeader", "x-ms-version"
	}
	switch request.URL.Query().Get("comp") {
	case "page":
		return front.checkPage(request, body)
	case "":
		if request.Header.Get("x-ms-blob-type") == "PageBlob" {
			size, err := strconv.ParseInt(request.Header.Get("x-ms-blob-content-length"), 10, 64)
			if err != nil || size < 0 || size > blobBytesMax || size%pageBytes != 0 {
				return http.StatusBadRequest, "InvalidHeaderValue", "x-ms-blob-content-length"
			}
		}
	}
	return 0, "", ""
}

func (front *Front) checkPage(request *http.Request, body []byte) (int, string, string) {
	var first, last int64
	if _, err := fmt.Sscanf(request.Header.Get("x-ms-range"), "bytes=%d-%d", &first, &last); err != nil {
		return http.StatusBadRequest, "MissingRequiredHeader", "x-ms-range"
	}
	size, err := front.sizeOf(request)
	if err != nil {
		return 0, "", "" // the emulator says why
	}
	if first < 0 || last < first || first%pageBytes != 0 || (last+1)%pageBytes != 0 || last >= size {
		return http.StatusRequestedRangeNotSatisfiable, "InvalidPageRange", "no whole pages of the blob"
	}
	switch request.Header.Get("x-ms-page-write") {
	case "clear":
		if len(body) != 0 {
			return http.StatusBadRequest, "InvalidHeaderValue", "a clear has no content"
		}
		return 0, "", ""
	case "update":
	default:
		return http.StatusBadRequest, "InvalidHeaderValue", "x-ms-page-write"
	}
	if len(body) > putBytesMax {
		return http.StatusRequestEntityTooLarge, "RequestBodyTooLarge", "more than 4 MiB"
	}
	if int64(len(body)) != last+1-first {
		return http.StatusBadRequest, "InvalidHeaderValue", "content and range differ"
	}
	return front.checkContent(request, body)
}

// Content is as its checksum says. Azure does without one; Homeward never does.
func (front *Front) checkContent(request *http.Request, body []byte) (int, string, string) {
	crc, digest := request.Header.Get(crc64Header), request.Header.Get("Content-MD5")
	if (crc == "") == (digest == "") {
		return http.StatusBadRequest, "MissingRequiredHeader", "one of Content-MD5 and " + crc64Header
	}
	if digest != "" {
		if sum := md5.Sum(body); base64.StdEncoding.EncodeToString(sum[:]) != digest {
			return http.StatusBadRequest, "Md5Mismatch", "the content is not that of its MD5"
		}
		return 0, "", ""
	}
	var sum [8]byte
	binary.LittleEndian.PutUint64(sum[:], crc64.Checksum(body, crc64Table))
	if base64.StdEncoding.EncodeToString(sum[:]) != crc {
		return http.StatusBadRequest, "Crc64Mismatch", "the content is not that of its CRC-64"
	}
	// What the emulator is not sent is judged here.
	if given := request.Header.Get("Authorization"); strings.HasPrefix(given, "SharedKey ") && given != front.account.authorization(request) {
		return http.StatusForbidden, "AuthenticationFailed", "the signature"
	}
	return 0, "", ""
}

// Of the blob that the request is for.
func (front *Front) sizeOf(request *http.Request) (int64, error) {
	path := request.URL.EscapedPath()
	front.mutex.Lock()
	size, known := front.sizes[path]
	front.mutex.Unlock()
	if known {
		return size, nil
	}
	reply, err := front.ask(http.MethodHead, path, nil)
	if err != nil {
		return 0, err
	}
	front.mutex.Lock()
	defer front.mutex.Unlock()
	front.sizes[path] = reply.ContentLength
	return reply.ContentLength, nil
}

// Forgets the size of a blob that may have another one now.
func (front *Front) learn(request *http.Request, reply *http.Response) {
	if request.URL.Query().Get("comp") == "" && request.Method != http.MethodGet && request.Method != http.MethodHead {
		front.mutex.Lock()
		defer front.mutex.Unlock()
		delete(front.sizes, request.URL.EscapedPath())
	}
}

type pageList struct {
	XMLName    xml.Name    `xml:"PageList"`
	Ranges     []pageRange `xml:"PageRange"`
	NextMarker string      `xml:"NextMarker,omitempty"`
}

type pageRange struct {
	Start int64 `xml:"Start"`
	End   int64 `xml:"End"`
}

// In pages, whatever the emulator does.
func (front *Front) paged(request *http.Request, reply *http.Response, content []byte) []byte {
	query := request.URL.Query()
	if reply.StatusCode != http.StatusOK || request.Method != http.MethodGet {
		return content
	}
	if query.Get("comp") == "pagelist" {
		return front.pageRanges(request, content)
	}
	if query.Get("comp") == "list" && query.Get("restype") == "container" {
		return front.pageBlobs(request, content)
	}
	return content
}

type blobList struct {
	XMLName    xml.Name   `xml:"EnumerationResults"`
	Prefix     string     `xml:"Prefix"`
	Blobs      []anything `xml:"Blobs>Blob"`
	NextMarker string     `xml:"NextMarker"`
}

type anything struct {
	Inner string `xml:",innerxml"`
}

// Azurite's marker is a name: what has that name and did not fit into the page before, as a blob after its snapshots, would be in
// neither. So the whole list is asked for, and cut here.
func (front *Front) pageBlobs(request *http.Request, content []byte) []byte {
	query := request.URL.Query()
	most, err := strconv.Atoi(query.Get("maxresults"))
	if err != nil {
		return content
	}
	begin, _ := strconv.Atoi(query.Get("marker"))
	query.Del("marker")
	query.Set("maxresults", "5000")
	for _, signature := range []string{"sv", "se", "st", "sr", "sp", "sig", "spr"} {
		query.Del(signature)
	}
	content, err = front.askFor(http.MethodGet, request.URL.EscapedPath()+"?"+query.Encode())
	var list blobList
	if err != nil || xml.Unmarshal(content, &list) != nil {
		return content
	}
	if begin > len(list.Blobs) {
		begin = len(list.Blobs)
	}
	list.Blobs = list.Blobs[begin:]
	if list.NextMarker = ""; len(list.Blobs) > most {
		list.Blobs, list.NextMarker = list.Blobs[:most], strconv.Itoa(begin+most)
	}
	text, err := xml.Marshal(list)
	if err != nil {
		return content
	}
	return append([]byte(xml.Header), text...)
}

// Azurite gives all ranges at once, and knows no marker.
func (front *Front) pageRanges(request *http.Request, content []byte) []byte {
	query := request.URL.Query()
	var list pageList
	if err := xml.Unmarshal(content, &list); err != nil {
		return content
	}
	front.mutex.Lock()
	most := front.rangesMax
	front.mutex.Unlock()
	if most == 0 {
		most = rangesMaximum
	}
	begin, _ := strconv.Atoi(query.Get("marker"))
	if begin > len(list.Ranges) {
		begin = len(list.Ranges)
	}
	list.Ranges = list.Ranges[begin:]
	if len(list.Ranges) > most {
		list.Ranges, list.NextMarker = list.Ranges[:most], strconv.Itoa(begin+most)
	}
	text, err := xml.Marshal(list)
	if err != nil {
		return content
	}
	return append([]byte(xml.Header), text...)
}
