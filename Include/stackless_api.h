/* The name that this header had in old Stackless. */

#include "stackless.h"
