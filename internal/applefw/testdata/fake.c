// SPDX-License-Identifier: Apache-2.0
//
// A stand-in for the functions of IOKit, CoreFoundation and libSystem that package applefw calls.
// It counts every object and notes what it was given, so that a test can look.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { STRING = 0x51, ARRAY, DICT, DATA, ERROR };

typedef struct object {
	long magic, kind, refs, count;
	struct object **members;
	unsigned char *bytes;
} object;

#define MAGIC 0x0b1ec7

// What the test asks for and reads.
long fake_mode;          // 0 good, 1 the kernel refuses, 2 no data with an error, 3 empty data, 4 csr fails
long fake_live;          // objects alive
long fake_created;       // objects ever made
long fake_bad;           // wrong arguments, and releases of what is not alive
long fake_log_set;       // the log function was set to NULL
long fake_log_late;      // a query came before that
long fake_queries;
long fake_keys;          // strings in the array of the last query
char fake_key_text[4096]; // their text, with blanks between
static unsigned char reply[] = "bplist00-stand-in";

long fake_read(const char *name) {
	if (!strcmp(name, "live")) return fake_live;
	if (!strcmp(name, "created")) return fake_created;
	if (!strcmp(name, "bad")) return fake_bad;
	if (!strcmp(name, "log_late")) return fake_log_late;
	if (!strcmp(name, "queries")) return fake_queries;
	if (!strcmp(name, "keys")) return fake_keys;
	return -1;
}
void fake_reset(long mode) {
	fake_mode = mode;
	fake_live = fake_created = fake_bad = fake_log_set = fake_log_late = fake_queries = fake_keys = 0;
	fake_key_text[0] = 0;
}
const char *fake_text(void) { return fake_key_text; }

static object *make(long kind) {
	object *o = calloc(1, sizeof *o);
	o->magic = MAGIC;
	o->kind = kind;
	o->refs = 1;
	fake_live++;
	fake_created++;
	return o;
}
static int is(object *o, long kind) { return o && o->magic == MAGIC && o->kind == kind && o->refs > 0; }

typedef struct { long version; void *retain, *release, *describe, *equal; } callbacks;
const callbacks kCFTypeArrayCallBacks = {0x7a11, 0, 0, 0, 0};

#ifndef NO_CFRELEASE
void CFRelease(object *o) {
	if (!o || o->magic != MAGIC || o->refs <= 0) {
		fake_bad++;
		return;
	}
	if (--o->refs > 0) return;
	for (long i = 0; o->members && i < o->count; i++) CFRelease(o->members[i]);
	free(o->members);
	free(o->bytes);
	o->magic = 0;
	free(o);
	fake_live--;
}
#endif

object *CFStringCreateWithCString(void *allocator, const char *text, uint32_t encoding) {
	if (allocator || !text || encoding != 0x08000100) {
		fake_bad++;
		return 0;
	}
	object *o = make(STRING);
	o->bytes = (unsigned char *)strdup(text);
	return o;
}

object *CFArrayCreate(void *allocator, object **values, long count, const callbacks *cb) {
	if (allocator || count < 0 || (count && !values) || cb != &kCFTypeArrayCallBacks || cb->version != 0x7a11) {
		fake_bad++;
		return 0;
	}
	object *o = make(ARRAY);
	o->count = count;
	o->members = calloc(count + 1, sizeof *o->members);
	for (long i = 0; i < count; i++) {
		if (!is(values[i], STRING)) fake_bad++;
		o->members[i] = values[i];
		values[i]->refs++;
	}
	return o;
}

object *CFPropertyListCreateData(void *allocator, object *list, long format, unsigned long options, object **error) {
	if (allocator || !is(list, DICT) || format != 200 || options != 0 || !error || *error) {
		fake_bad++;
		return 0;
	}
	if (fake_mode == 2) {
		*error = make(ERROR);
		return 0;
	}
	object *o = make(DATA);
	o->count = 0;
	o->bytes = malloc(sizeof reply);
	memcpy(o->bytes, reply, sizeof reply);
	return o;
}
const unsigned char *CFDataGetBytePtr(object *o) {
	if (!is(o, DATA)) fake_bad++;
	return o->bytes;
}
long CFDataGetLength(object *o) {
	if (!is(o, DATA)) fake_bad++;
	return fake_mode == 3 ? 0 : (long)sizeof reply - 1;
}

void OSKextSetLogOutputFunction(void *f) {
	if (f) fake_bad++;
	fake_log_set = 1;
}

#ifndef NO_COPY_INFO
object *KextManagerCopyLoadedKextInfo(object *ids, object *keys) {
	fake_queries++;
	if (!fake_log_set) fake_log_late++;
	if (ids || !is(keys, ARRAY)) {
		fake_bad++;
		return 0;
	}
	fake_keys = keys->count;
	fake_key_text[0] = 0;
	for (long i = 0; i < keys->count; i++) {
		if (i) strcat(fake_key_text, " ");
		strcat(fake_key_text, (char *)keys->members[i]->bytes);
	}
	return fake_mode == 1 ? 0 : make(DICT);
}
#endif

int csr_get_active_config(uint32_t *mask) {
	if (!mask) fake_bad++;
	if (fake_mode == 4) return -1;
	*mask = 0x80000203u;
	return 0;
}
